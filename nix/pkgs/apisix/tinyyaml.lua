-- What APISIX takes of tinyyaml, by lyaml, which knows all of YAML 1.1 and tells where a document is wrong.
local lyaml = require("lyaml")

local null = setmetatable({}, { __type = "null", __tostring = function() return "null" end })

-- Returns a copy with APISIX's null. lyaml gives every alias of an anchor the same table, into which APISIX writes.
local function own(value)
    if value == lyaml.null then
        return null
    end
    if type(value) ~= "table" then
        return value
    end
    local copy = {}
    for key, item in pairs(value) do
        copy[key] = own(item)
    end
    return copy
end

return {
    null = null,
    own = own,
    parse = function(text) return own(lyaml.load(text)) end,
}
