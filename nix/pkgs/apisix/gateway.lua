#!@luajit@
-- Checks apisix.yaml of the working directory and becomes openresty, which returns when it listens.
local home, openresty = "@home@", "@openresty@"
local prefix, routes = "/tmp/apisix", "apisix.yaml"
package.path = ("@/deps/share/lua/5.1/?.lua;@/deps/share/lua/5.1/?/init.lua;@/?.lua"):gsub("@", home)
package.cpath = home .. "/deps/lib/lua/5.1/?.so"

local ffi = require("ffi")
local lfs = require("lfs")
local routes_file = require("sandbox.routes_file")

local function refuse(...)
    io.stderr:write(...)
    io.stderr:write("\n")
    os.exit(1)
end

local file, failure = io.open(routes)
if not file then
    refuse(failure)
end
local content, problem = routes_file.parse(file:read("*a"))
file:close()
if not content then
    refuse(problem)
end

for _, directory in ipairs { "", "/conf", "/logs" } do
    lfs.mkdir(prefix .. directory)
end
for _, name in ipairs { "config.yaml", "config-default.yaml" } do
    lfs.link(home .. "/conf/" .. name, prefix .. "/conf/" .. name, true)
end
-- A script that changes its file changes the routes.
lfs.link(lfs.currentdir() .. "/" .. routes, prefix .. "/conf/apisix.yaml", true)

ffi.cdef [[
    extern const char *const *environ;
    int setenv(const char *name, const char *value, int overwrite);
    int execv(const char *path, const char *const arguments[]);
]]
-- nginx hides from its workers the variables that it is not told to leave, which apisix.yaml may ask for when it changes.
local left, position = {}, 0
while ffi.C.environ[position] ~= nil do
    local name = ffi.string(ffi.C.environ[position]):match("^([%a_][%w_]*)=")
    left[#left + 1] = name and "env " .. name .. ";"
    position = position + 1
end
ffi.C.setenv("LD_PRELOAD", home .. "/deps/lib/lua/5.1/shared-memory.so", 1)
local arguments = {
    "openresty",
    "-p", prefix,
    "-c", home .. "/conf/nginx.conf",
    "-e", prefix .. "/logs/error.log",
    "-g", table.concat(left, " "),
}
local list = ffi.new("const char *[?]", #arguments + 1, arguments)
list[#arguments] = nil
ffi.C.execv(openresty, list)
refuse("openresty can't be started")
