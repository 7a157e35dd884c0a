-- Finds out what of apisix.yaml has no effect. APISIX itself passes over all of it without a word.
local plugins = "@plugins@"

local sections, of_config = {}, {}
for _, name in ipairs {
    "consumer_groups", "consumers", "global_rules", "plugin_configs", "plugin_metadata", "plugins", "protos", "routes",
    "secrets", "services", "ssls", "stream_routes", "upstreams",
} do
    sections[name] = true
end
for _, name in ipairs {
    "apisix", "deployment", "discovery", "etcd", "ext-plugin", "graphql", "nginx_config", "plugin_attr", "stream_plugins",
    "wasm", "xrpc",
} do
    of_config[name] = true
end

local function sorted_keys(value)
    local keys = {}
    for key in pairs(value) do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b)
        if type(a) == "number" and type(b) == "number" then
            return a < b
        end
        return tostring(a) < tostring(b)
    end)
    return keys
end

-- Returns how many letters must be put in, left out or replaced to make one word of another.
local function distance(from, to)
    local row = {}
    for column = 0, #to do
        row[column] = column
    end
    for line = 1, #from do
        local diagonal = row[0]
        row[0] = line
        for column = 1, #to do
            local cost = from:byte(line) == to:byte(column) and 0 or 1
            diagonal, row[column] = row[column], math.min(row[column] + 1, row[column - 1] + 1, diagonal + cost)
        end
    end
    return row[#to]
end

-- Returns the section that a wrong key is most like, if it is like one.
local function nearest(key)
    local word = key:lower():gsub("%-", "_")
    local best, best_distance = nil, math.min(3, #word)
    for _, section in ipairs(sorted_keys(sections)) do
        local far = distance(word, section)
        if far < best_distance then
            best, best_distance = section, far
        end
    end
    return best
end

local function describe_unknown(key)
    if of_config[key] then
        return key .. " has no effect: it belongs in config.yaml, which cannot be changed here"
    end
    local section = nearest(tostring(key))
    return "unknown key " .. tostring(key) .. "; "
        .. (section and "did you mean " .. section .. "?" or "known are " .. table.concat(sorted_keys(sections), ", "))
end

local function check_sections(content, warnings)
    for _, key in ipairs(sorted_keys(content)) do
        local value = content[key]
        if not sections[key] then
            -- By custom, keys such as `x-upstream` only hold what others are aliases of.
            if not tostring(key):find("^x%-") then
                warnings[#warnings + 1] = describe_unknown(key)
            end
        elseif type(value) ~= "table" or (#value == 0 and next(value) ~= nil) then
            warnings[#warnings + 1] = key .. " has no effect: it must be a list, each item of which begins with `- `"
            -- APISIX does not look whether it is one.
            content[key] = nil
        elseif key == "stream_routes" and #value > 0 then
            warnings[#warnings + 1] = key .. " has no effect: only HTTP and HTTPS are served here"
        end
    end
end

local function check_plugin(name, place, warnings)
    if type(name) ~= "string" or (" " .. plugins .. " "):find(" " .. name .. " ", 1, true) then
        return
    end
    -- All names are told once.
    local those = warnings.has_names and "" or " here, but only " .. plugins
    warnings.has_names = true
    warnings[#warnings + 1] = place .. ": there is no plugin " .. name .. those
end

local function check_plugins(value, place, warnings)
    for _, key in ipairs(sorted_keys(value)) do
        local item = value[key]
        local inner = place == "" and tostring(key) or place .. "." .. tostring(key)
        if type(item) == "table" and key == "plugins" then
            for _, name in ipairs(sorted_keys(item)) do
                check_plugin(name, place, warnings)
            end
        elseif type(item) == "table" then
            if place == "plugin_metadata" then
                check_plugin(item.id, inner, warnings)
            end
            check_plugins(item, inner, warnings)
        end
    end
end

local _M = {}

-- Returns a list of warnings. Takes out of the content what APISIX fails at.
function _M.in_content(content, documents)
    local warnings = {}
    if documents > 1 then
        warnings[1] = "only the first of its " .. documents .. " YAML documents has an effect; merge them"
    end
    check_sections(content, warnings)
    check_plugins(content, "", warnings)
    return warnings
end

return _M
