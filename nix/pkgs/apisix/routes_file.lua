-- Reads apisix.yaml, when the gateway starts and whenever the file changes, and logs what in it has no effect.
local lyaml = require("lyaml")
local variables = require("apisix.cli.file")
local tinyyaml = require("tinyyaml")
local unused = require("sandbox.unused")

local prefix = "/tmp/apisix"
local path, name = prefix .. "/conf/apisix.yaml", "apisix.yaml"

local _M = {
    -- Seconds between two looks at the file.
    interval = 0.2,
}

-- How many looks must find the same in a file without APISIX's mark of its end, which may be half written.
local settled_looks = 5

-- Returns the content of the YAML in a text, or nil and what is wrong with it.
function _M.parse(text)
    local is_yaml, documents = pcall(lyaml.load, text, { all = true })
    if not is_yaml then
        -- The document's number, line, column and problem.
        local line, column, problem = tostring(documents):match("(%d+):(%d+): (.*)$")
        return nil, name .. (line and (", line " .. line .. ", column " .. column .. ": " .. problem) or (": " .. tostring(documents)))
    end
    local content = documents[1]
    if type(content) ~= "table" or content == lyaml.null or #content > 0 then
        return nil, name .. ": it must be a mapping, such as `routes:` and a list of routes below it"
    end
    local is_tree, copy = pcall(tinyyaml.own, content)
    if not is_tree then
        return nil, name .. ": an alias must not be within its own anchor"
    end
    local is_resolved, problem = variables.resolve_conf_var(copy)
    if not is_resolved then
        return nil, name .. ": " .. problem .. "; write `${{NAME:=VALUE}}` to give it a value"
    end
    local count = 0
    for _, document in ipairs(documents) do
        count = count + (document == lyaml.null and 0 or 1)
    end
    return copy, nil, count
end

-- Adds lines to the log that the caller sees.
local function log(lines)
    local file = io.open(prefix .. "/logs/error.log", "a")
    for _, line in ipairs(lines) do
        file:write("[error] ", line, "\n")
    end
    file:close()
end

-- What was taken last, which may be a reason why there is nothing; and what was found since, and how often.
local taken, found, looks

-- Returns the content of the file if it is another than at the last call, and complete.
function _M.changed()
    local file, failure = io.open(path)
    local text = file and file:read("*a") or ""
    if file then
        file:close()
    end
    local state = failure or text
    if state == taken then
        found = nil
        return nil
    end
    if taken and not text:find("#END%s*$") then
        looks = state == found and looks + 1 or 1
        found = state
        if looks < settled_looks then
            return nil
        end
    end
    local is_first = not taken
    taken, found = state, nil

    if failure then
        log { name .. failure:sub(#path + 1) .. "; the routes stay as they were" }
        return nil
    end
    local content, problem, documents = _M.parse(text)
    if problem then
        log { problem .. (is_first and "" or "; the routes stay as they were") }
        return nil
    end
    local lines = {}
    for _, warning in ipairs(unused.in_content(content, documents)) do
        lines[#lines + 1] = name .. ": " .. warning
    end
    log(lines)
    return content
end

return _M
