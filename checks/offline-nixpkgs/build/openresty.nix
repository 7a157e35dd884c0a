# OpenResty out of the parts that its own releases bundle, and modules of Lua, for APISIX.
#
# Their sources are pinned by hash and come from the store alone: see ./github.nix.
{ pkgs, lib }:
let
  inherit (pkgs) fetchFromGitHub stdenv;

  version = "1.27.1.2";
  nginxVersion = "1.27.1";
  sources = lib.importJSON ./openresty.json;
  source = lib.mapAttrs (_: fetchFromGitHub) sources;

  # Debian's libraries, in directories where no compiler looks by itself.
  libraries = with pkgs; [
    libpcre2-dev
    libssl-dev
    zlib-dev
  ];
  include = lib.concatMapStringsSep " " (
    package: "-I${package}/include -I${package}/include/x86_64-linux-gnu"
  ) libraries;
  link = lib.concatMapStringsSep " " (package: "-L${package}/lib/x86_64-linux-gnu") libraries;
  # The libraries themselves are units below those: to find them when a program runs.
  loaded = lib.filter (
    unit:
    lib.elem unit.pname [
      "libcrypt1"
      "libpcre2-8-0"
      "libssl3t64"
      "zlib1g"
    ]
  ) (lib.concatMap (package: package.below) libraries);
  run = lib.concatMapStringsSep " " (unit: "-Wl,-rpath,${unit}/lib/x86_64-linux-gnu") (
    lib.unique loaded
  );

  # What the OpenResty of nixpkgs has under lualib/, as far as it is plain Lua.
  modules = lib.attrNames (lib.filterAttrs (name: _: lib.hasPrefix "lua-resty-" name) bundled) ++ [
    "lua-tablepool"
  ];
  bundled = removeAttrs source [ "lua-resty-openssl" ];

  # In the order in which a release applies them, but for those of other systems.
  patches = lib.replaceStrings [ "\n" ] [ " " ] ''
    stream_balancer_export stream_proxy_get_next_upstream_tries stream_proxy_timeout_fields
    stream_ssl_preread_no_skip resolver_conf_parsing daemon_destroy_pool init_cycle_pool_release
    balancer_status_code builtin_error_page_footer delayed_posted_events privileged_agent_process
    privileged_agent_process_connections privileged_agent_process_thread_pool single_process_graceful_exit
    intercept_error_log upstream_pipelining no_error_pages no_Werror log_escape_non_ascii proxy_host_port_vars
    cache_manager_exit larger_max_error_str pcre_conf_opt hash_overflow always_enable_cc_feature_tests
    ssl_cert_cb_yield ssl_sess_cb_yield ssl_client_hello_cb_yield CVE-2025-23419 upstream_timeout_fields
    safe_resolver_ipv6_option socket_cloexec reuseport_close_unused_fds proc_exit_handler
  '';

  # A module of Lua where those of nixpkgs' luajitPackages have it.
  luaModule =
    pname: install:
    stdenv.mkDerivation {
      inherit pname;
      version = sources.${pname}.rev;
      src = source.${pname};
      installPhase = ''
        share=$out/share/lua/5.1
        mkdir -p $share
        ${install}
      '';
    };
  # One of Debian, whose libraries are below the name of the architecture.
  debianModule =
    package:
    pkgs.runCommand package.pname { } ''
      mkdir -p $out/share/lua $out/lib/lua
      for part in share lib; do
        for found in ${package}/$part/lua/5.1 ${package}/$part/x86_64-linux-gnu/lua/5.1; do
          [ ! -e $found ] || ln -s $found $out/$part/lua/5.1
        done
      done
    '';
in
rec {
  openresty = stdenv.mkDerivation {
    pname = "openresty";
    inherit version;
    src = source.nginx;
    nativeBuildInputs = [ pkgs.gnumake ];
    buildInputs = libraries;
    sources = lib.attrValues source;

    patchPhase = ''
      for patch in ${patches}; do
        patch -p1 < ${source.openresty}/patches/nginx-${nginxVersion}-$patch.patch
      done
      sed -i 's|"nginx/" NGINX_VERSION|"openresty/${version}"|' src/core/nginx.h
    '';

    buildPhase = ''
      cp -r ${source.luajit2} luajit
      chmod -R u+w luajit
      # What programs are linked with is for the libraries that they load too.
      old=-Wl,--disable-new-dtags
      make -C luajit PREFIX=$out/luajit XCFLAGS=-DLUAJIT_ENABLE_LUA52COMPAT TARGET_LDFLAGS=$old install > /dev/null

      export LUAJIT_LIB=$out/luajit/lib LUAJIT_INC=$out/luajit/include/luajit-2.1
      cp -r ${source.lua-nginx-module} lua-nginx-module
      chmod -R u+w lua-nginx-module
      sed -i "1i #define LUA_DEFAULT_PATH \"$out/lualib/?.lua;$out/lualib/?/init.lua\"\n#define LUA_DEFAULT_CPATH \"$out/lualib/?.so\"" \
        lua-nginx-module/src/ngx_http_lua_common.h
      auto/configure --prefix=$out/nginx \
        --with-cc-opt="-O2 ${include}" \
        --with-ld-opt="$old -L$out/luajit/lib -Wl,-rpath,$out/luajit/lib ${link} ${run}" \
        --add-module=${source.ngx_devel_kit} --add-module=$PWD/lua-nginx-module \
        --with-http_ssl_module --with-http_v2_module --with-http_realip_module --with-http_stub_status_module \
        --with-http_auth_request_module --with-http_sub_module --with-http_gzip_static_module --with-threads --with-pcre-jit
      # What it tells of itself would keep all that it was made with in the closure.
      sed -i 's|define NGX_CONFIGURE .*|define NGX_CONFIGURE " --with-http_stub_status_module"|' objs/ngx_auto_config.h
      make
    '';

    installPhase = ''
      make install > /dev/null
      rm $out/luajit/lib/*.a
      cp -r ${source.lua-cjson} cjson
      chmod -R u+w cjson
      make -C cjson LUA_INCLUDE_DIR=$LUAJIT_INC
      mkdir -p $out/bin $out/lualib
      cp cjson/cjson.so $out/lualib/
      for module in ${toString (map (name: bundled.${name}) modules)}; do
        cp -r --no-preserve=mode $module/lib/. $out/lualib/
      done
      ln -s $out/nginx/sbin/nginx $out/bin/openresty
      ln -s $out/nginx/sbin/nginx $out/bin/nginx
      ln -s $out/luajit/bin/luajit-2.1.* $out/bin/luajit-openresty
    '';
    meta.mainProgram = "openresty";
  };

  luajitPackages = {
    binaryheap = debianModule pkgs.lua-binaryheap;
    dkjson = debianModule pkgs.lua-dkjson;
    inspect = debianModule pkgs.lua-inspect;
    luafilesystem = debianModule pkgs.lua-filesystem;
    lyaml = debianModule pkgs.lua-yaml;
    penlight = debianModule pkgs.lua-penlight;
    lua-ffi-zlib = luaModule "lua-ffi-zlib" "cp -r lib/* $share/";
    lua-protobuf = luaModule "lua-protobuf" ''
      mkdir -p $out/lib/lua/5.1
      cc -O2 -fPIC -shared -I${openresty}/luajit/include/luajit-2.1 -o $out/lib/lua/5.1/pb.so pb.c
      cp protoc.lua $share/
    '';
    lua-resty-openssl = luaModule "lua-resty-openssl" "cp -r lib/* $share/";
    xml2lua = luaModule "xml2lua" "cp -r xml2lua.lua XmlParser.lua xmlhandler $share/";
  };
}
