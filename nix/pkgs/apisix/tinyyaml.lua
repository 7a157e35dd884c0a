-- What APISIX takes of tinyyaml, by lyaml, which knows all of YAML 1.1 and tells where a document is wrong.
local lyaml = require("lyaml")

local null = setmetatable({}, { __type = "null", __tostring = function() return "null" end })

local function with_own_null(value)
    if value == lyaml.null then
        return null
    end
    if type(value) == "table" then
        for key, item in pairs(value) do
            value[key] = with_own_null(item)
        end
    end
    return value
end

return {
    null = null,
    parse = function(text) return with_own_null(lyaml.load(text)) end,
}
