-- `apisix init`, which makes conf/nginx.conf of conf/config.yaml in the working directory. It loads what its other commands
-- need, of which nothing is called.
local unused = setmetatable({}, { __index = function() return function() end end })
for _, name in ipairs {
    "argparse",
    "base64",
    "ltn12",
    "posix.errno",
    "posix.signal",
    "resty.mediador.ip",
    "socket.http",
    "ssl.https",
} do
    package.preload[name] = function() return unused end
end

-- A pattern is only matched against the configuration that comes with this.
package.preload["rex_pcre"] = function()
    return { find = function() return 1 end }
end

-- By a name that begins so it takes the working directory for its home.
arg = { [0] = "./apisix", "init" }
dofile("apisix/cli/apisix.lua")
