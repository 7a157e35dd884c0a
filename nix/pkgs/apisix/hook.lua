-- Loaded before APISIX, by its own setting `lua_module_hook`.

-- Without it APISIX keeps connections alive by nginx's own means, as it did on older runtimes. This one calls it otherwise.
require("ngx.balancer").enable_keepalive = nil

local unused = setmetatable({}, { __index = function() return function() end end })

-- What APISIX requires whatever it is to do, and what the sandbox has no use for.
for _, name in ipairs {
    "apisix.core.etcd",
    "apisix.core.pubsub",
    "apisix.plugins.ext-plugin.init",
    "apisix.pubsub.kafka",
    "graphql",
    "resty.rediscluster",
    "socket",
    "socket.unix",
    "ssl",
} do
    package.preload[name] = function() return unused end
end
