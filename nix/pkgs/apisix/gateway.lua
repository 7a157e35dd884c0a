#!@luajit@
-- Checks apisix.yaml of the working directory and becomes openresty, which returns when it listens.
local home, openresty = "@home@", "@openresty@"
local plugins = "@plugins@"
local prefix, routes = "/tmp/apisix", "apisix.yaml"
package.path = home .. "/deps/share/lua/5.1/?.lua;" .. home .. "/deps/share/lua/5.1/?/init.lua"
package.cpath = home .. "/deps/lib/lua/5.1/?.so"

local ffi = require("ffi")
local lfs = require("lfs")
local lyaml = require("lyaml")

local function refuse(...)
    io.stderr:write(...)
    io.stderr:write("\n")
    os.exit(1)
end

local file, failure = io.open(routes, "r+")
if not file then
    refuse(failure)
end
local text = file:read("*a")
local is_yaml, content = pcall(lyaml.load, text)
if not is_yaml then
    -- The document's number, line, column and problem.
    local line, column, problem = tostring(content):match("(%d+):(%d+): (.*)$")
    refuse(routes, line and (", line " .. line .. ", column " .. column .. ": " .. problem) or (": " .. tostring(content)))
end
if type(content) ~= "table" or content == lyaml.null or #content > 0 then
    refuse(routes, ": it must be a mapping, such as `routes:` and a list of routes below it")
end
-- APISIX takes a file for complete when it ends so.
if not text:find("#END%s*$") then
    file:write("\n#END\n")
end
file:close()

for _, directory in ipairs { "", "/conf", "/logs" } do
    lfs.mkdir(prefix .. directory)
end
for _, name in ipairs { "config.yaml", "config-default.yaml" } do
    lfs.link(home .. "/conf/" .. name, prefix .. "/conf/" .. name, true)
end
-- A script that changes its file changes the routes.
lfs.link(lfs.currentdir() .. "/" .. routes, prefix .. "/conf/apisix.yaml", true)

-- A plugin that it has not got APISIX passes over without a word.
local log = io.open(prefix .. "/logs/error.log", "a")
local function check_plugins(value, place)
    for key, item in pairs(value) do
        if key == "plugins" and type(item) == "table" then
            for name in pairs(item) do
                if type(name) == "string" and not (" " .. plugins .. " "):find(" " .. name .. " ", 1, true) then
                    log:write("[error] ", routes, ": ", place, ": there is no plugin ", name, " here, but only ", plugins, "\n")
                end
            end
        elseif type(item) == "table" then
            check_plugins(item, place == "" and tostring(key) or place .. "." .. key)
        end
    end
end
check_plugins(content, "")
log:close()

ffi.cdef [[
    int setenv(const char *name, const char *value, int overwrite);
    int execv(const char *path, const char *const arguments[]);
]]
ffi.C.setenv("LD_PRELOAD", home .. "/deps/lib/lua/5.1/shared-memory.so", 1)
local arguments = { "openresty", "-p", prefix, "-c", home .. "/conf/nginx.conf", "-e", prefix .. "/logs/error.log" }
local list = ffi.new("const char *[?]", #arguments + 1, arguments)
list[#arguments] = nil
ffi.C.execv(openresty, list)
refuse("openresty can't be started")
