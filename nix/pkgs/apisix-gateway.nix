# APISIX on the OpenResty of nixpkgs, with these of its plugins, by their names. Its program `apisix-gateway` starts the
# gateway with the file apisix.yaml of the working directory, and returns when it listens.
#
# What APISIX makes of its configuration when it starts is made here, once. Its own start script is not used.
{
  fetchFromGitHub,
  lib,
  luajitPackages,
  openresty,
  plugins,
  stdenv,
}:
let
  sources = lib.mapAttrs (_: fetchFromGitHub) (lib.importJSON ./apisix/sources.json);

  # Where a source has its modules, if not in lib/.
  places = {
    lua-resty-dns-client = "src/*";
    lua-resty-ipmatcher = "resty";
    nginx-lua-prometheus = "*.lua";
  };
  libraries = removeAttrs sources [
    "apisix"
    "lua-resty-nanoid"
  ];
  modules = [
    luajitPackages.binaryheap
    luajitPackages.dkjson
    luajitPackages.inspect
    luajitPackages.lua-ffi-zlib
    luajitPackages.lua-protobuf
    luajitPackages.lua-resty-openssl
    luajitPackages.luafilesystem
    luajitPackages.lyaml
    luajitPackages.penlight
    luajitPackages.xml2lua
  ];

  config = home: {
    apisix = {
      node_listen = [ 9080 ];
      enable_admin = false;
      enable_control = false;
      enable_ipv6 = false;
      enable_reuseport = false;
      # At its usual port, for certificates of `ssls`.
      ssl.listen = [ { port = 9443; } ];
      # Nothing answers there, nor is it asked: see names.patch.
      dns_resolver = [ "127.0.0.1" ];
      # What the runtime lacks is put in its place before anything else is loaded.
      lua_module_hook = "sandbox.hook";
      extra_lua_path = "${home}/deps/share/lua/5.1/?.lua;${home}/deps/share/lua/5.1/?/init.lua";
      extra_lua_cpath = "${home}/deps/lib/lua/5.1/?.so";
      events.module = "lua-resty-worker-events";
      proxy_cache.zones = [
        {
          name = "disk_cache_one";
          memory_size = "1m";
          disk_size = "16m";
          disk_path = "/tmp/apisix/cache";
          cache_levels = "1:2";
        }
        {
          name = "memory_cache";
          memory_size = "1m";
        }
      ];
    };
    nginx_config = {
      worker_processes = 1;
      # Below the sandbox's own limits, which it can't raise.
      worker_rlimit_nofile = 1000;
      worker_rlimit_core = "0";
      event.worker_connections = 512;
      http = {
        enable_access_log = false;
        lua_shared_dict = lib.genAttrs dictionaries (_: "1m");
      };
    };
    deployment = {
      role = "data_plane";
      role_data_plane.config_provider = "yaml";
    };
    inherit plugins;
    stream_plugins = [ ];
    plugin_attr.prometheus.enable_export_server = false;
  };
  dictionaries = [
    "balancer-ewma"
    "balancer-ewma-last-touched-at"
    "balancer-ewma-locks"
    "etcd-cluster-health-check"
    "internal-status"
    "lrucache-lock"
    "plugin-api-breaker"
    "plugin-limit-conn"
    "plugin-limit-conn-redis-cluster-slot-lock"
    "plugin-limit-count"
    "plugin-limit-count-redis-cluster-slot-lock"
    "plugin-limit-req"
    "plugin-limit-req-redis-cluster-slot-lock"
    "prometheus-metrics"
    "upstream-healthcheck"
    "worker-events"
  ];
in
stdenv.mkDerivation {
  pname = "apisix";
  version = "3.9.0";
  src = sources.apisix;
  patches = [
    ./apisix/changes.patch
    ./apisix/names.patch
    ./apisix/variables.patch
  ];
  nativeBuildInputs = [ openresty ];
  sources = lib.attrValues sources;
  inherit modules;

  configuration = builtins.toJSON (config "@home@");
  passAsFile = [ "configuration" ];

  dontConfigure = true;
  buildPhase = ''
    runHook preBuild
    library() { cc -O2 -fPIC -shared -DBUILDING_SO -DNDEBUG -std=gnu99 -I${openresty}/luajit/include/luajit-2.1 -o "$@"; }
    library librestyradixtree.so ${sources.lua-resty-radixtree}/src/*.c
    library librestychash.so ${sources.lua-resty-balancer}/chash.c
    library nanoid.so ${sources.lua-resty-nanoid}/src/nanoid.c
    library shared-memory.so ${./apisix/shared-memory.c}
    runHook postBuild
  '';

  installPhase = ''
    runHook preInstall
    home=$out/apisix share=$out/apisix/deps/share/lua/5.1 lib=$out/apisix/deps/lib/lua/5.1
    mkdir -p $share/sandbox $lib $out/bin
    cp -r apisix conf $home/
    ${lib.concatMapStrings (name: ''
      cp -r --no-preserve=mode ${libraries.${name}}/${places.${name} or "lib/*"} $share/
    '') (lib.attrNames libraries)}
    for module in $modules; do
      [ ! -e $module/share/lua/5.1 ] || cp -rL --no-preserve=mode $module/share/lua/5.1/. $share/
      [ ! -e $module/lib/lua/5.1 ] || cp -rL --no-preserve=mode $module/lib/lua/5.1/. $lib/
    done
    cp librestyradixtree.so librestychash.so nanoid.so shared-memory.so $lib/
    cp ${./apisix/tinyyaml.lua} $share/tinyyaml.lua
    cp ${./apisix/hook.lua} $share/sandbox/hook.lua
    cp ${./apisix/routes_file.lua} $share/sandbox/routes_file.lua
    sed "s|@plugins@|${toString plugins}|" ${./apisix/unused.lua} > $share/sandbox/unused.lua

    # Makes conf/nginx.conf.
    sed "s|@home@|$home|g" $configurationPath > $home/conf/config.yaml
    export LUA_PATH="$share/?.lua;$share/?/init.lua;$home/?.lua;${openresty}/lualib/?.lua"
    export LUA_CPATH="$lib/?.so;${openresty}/lualib/?.so"
    (cd $home && luajit-openresty ${./apisix/init.lua})

    sed "s|@luajit@|${openresty}/bin/luajit-openresty|; s|@openresty@|${openresty}/bin/openresty|; s|@home@|$home|" \
      ${./apisix/gateway.lua} > $out/bin/apisix-gateway
    chmod +x $out/bin/apisix-gateway
    runHook postInstall
  '';

  meta = {
    description = "Apache APISIX in standalone mode, for one call";
    license = lib.licenses.asl20;
    mainProgram = "apisix-gateway";
  };
}
