//! The targets of attacks on the host: secrets to steal, sockets to reach, and files and processes to harm.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::io::FdFlags;
use tempfile::TempDir;

/// The ordinary user that tests of root become. A server of root runs its programs as the same user.
pub const NOBODY: u32 = 65534;

/// The variable of the server's environment that contains a secret.
pub const VARIABLE: &str = "SANDBOX_MCP_ATTACKS_SECRET";

const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// The targets on the host.
pub struct AttackedHost {
    /// Every user may read it, so that attacks are not held by permissions.
    directory: TempDir,
    file_secret: String,
    pub variable_secret: String,
    descriptor_secret: String,
    /// Every server inherits this descriptor.
    _descriptor: File,
    tcp: TcpListener,
    /// An address of this host that is not a loopback address. `None` if there is none.
    address: Option<String>,
    abstract_name: String,
    abstract_socket: UnixListener,
    socket: UnixListener,
    /// A process of the user that programs run as, outside of the sandbox.
    process: Mutex<Child>,
    process_marker: String,
    shared_memory: Option<u32>,
    namespaces: String,
}

impl AttackedHost {
    /// Makes the targets.
    pub fn new() -> Self {
        let everybody = Permissions::from_mode(0o755);
        let directory = tempfile::Builder::new().permissions(everybody).tempdir().expect("make a directory");
        let exposed = directory.path().join("exposed");
        fs::create_dir(&exposed).expect("make a directory");
        let file_secret = secret();
        fs::write(exposed.join("secret"), &file_secret).expect("write the secret file");
        let descriptor_secret = secret();
        let abstract_name = format!("sandbox-mcp-{}", secret());
        let abstract_address = SocketAddr::from_abstract_name(&abstract_name).expect("the name is short");
        let process_marker = secret();
        let tcp = TcpListener::bind("127.0.0.1:0").expect("listen on the loopback");
        tcp.set_nonblocking(true).expect("a listener need not wait");
        let listening = |socket: std::io::Result<UnixListener>| {
            let socket = socket.expect("listen on a unix socket");
            socket.set_nonblocking(true).expect("a listener need not wait");
            socket
        };
        Self {
            _descriptor: inheritable(&directory, &descriptor_secret),
            tcp,
            address: other_address(),
            abstract_socket: listening(UnixListener::bind_addr(&abstract_address)),
            socket: listening(UnixListener::bind(exposed.join("socket"))),
            process: Mutex::new(process(&process_marker)),
            shared_memory: shared_memory(),
            namespaces: namespaces(),
            directory,
            file_secret,
            variable_secret: secret(),
            descriptor_secret,
            abstract_name,
            process_marker,
        }
    }

    /// Makes a directory for a server of the user. Attacks do not know its path.
    pub fn private(&self, name: &str, user: Option<u32>) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir(&path).expect("make a directory");
        std::os::unix::fs::chown(&path, user, user).expect("give a directory to its user");
        path
    }

    fn exposed(&self) -> PathBuf {
        self.directory.path().join("exposed")
    }

    /// Returns the placeholders in attacks, with their values. `None` if this host has no such target.
    pub fn facts(&self) -> Vec<(&'static str, Option<String>)> {
        let exposed = self.exposed();
        let path = |name: &str| exposed.join(name).display().to_string();
        let process = self.process.lock().expect("no other thread has panicked").id();
        vec![
            ("{host_dir}", Some(exposed.display().to_string())),
            ("{host_file}", Some(path("secret"))),
            ("{host_socket}", Some(path("socket"))),
            ("{abstract}", Some(self.abstract_name.clone())),
            ("{tcp_port}", Some(self.tcp.local_addr().expect("a listener has an address").port().to_string())),
            ("{host_address}", self.address.clone()),
            ("{host_pid}", Some(process.to_string())),
            ("{host_marker}", Some(self.process_marker.clone())),
            ("{shm_id}", self.shared_memory.map(|id| id.to_string())),
            ("{namespaces}", Some(self.namespaces.clone())),
        ]
    }

    /// Returns the secrets that no result may contain, with their names.
    pub fn secrets(&self) -> [(&'static str, &str); 3] {
        [
            ("the file's secret", &self.file_secret),
            ("the variable's secret", &self.variable_secret),
            ("the descriptor's secret", &self.descriptor_secret),
        ]
    }

    /// Returns the damage to the targets, by the last attack or by one that ran at the same time.
    pub fn damage(&self) -> Vec<String> {
        let mut damage = Vec::new();
        let exposed = self.exposed();
        if !fs::read_to_string(exposed.join("secret")).is_ok_and(|text| text == self.file_secret) {
            damage.push("the host's file was changed".to_owned());
        }
        let mut names: Vec<_> = fs::read_dir(&exposed)
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
            .unwrap_or_default();
        names.sort();
        if names != ["secret", "socket"] {
            damage.push(format!("the host's directory contains {names:?}"));
        }
        if !matches!(self.process.lock().expect("no other thread has panicked").try_wait(), Ok(None)) {
            damage.push("the host's process has ended".to_owned());
        }
        if self.tcp.accept().is_ok() {
            damage.push("the host's port was reached".to_owned());
        }
        if self.abstract_socket.accept().is_ok() {
            damage.push("the host's abstract socket was reached".to_owned());
        }
        if self.socket.accept().is_ok() {
            damage.push("the host's socket file was reached".to_owned());
        }
        damage
    }
}

impl Drop for AttackedHost {
    fn drop(&mut self) {
        if let Ok(mut process) = self.process.lock() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if let Some(id) = self.shared_memory {
            let _ = Command::new("ipcrm").args(["-m", &id.to_string()]).status();
        }
    }
}

/// Returns 32 random characters.
pub fn secret() -> String {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).expect("read random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Counts the processes of the host with a name, of any user.
pub fn processes_named(name: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("list the processes");
    let names = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

/// Opens a file that every process started from now on inherits.
fn inheritable(directory: &TempDir, content: &str) -> File {
    let path = directory.path().join("descriptor");
    let mut file = File::options().create_new(true).read(true).write(true).open(&path).expect("make a file");
    file.write_all(content.as_bytes()).expect("write a file");
    fs::remove_file(path).expect("remove a file");
    rustix::io::fcntl_setfd(file.as_fd(), FdFlags::empty()).expect("let a file be inherited");
    file
}

/// Starts a process that sleeps until its standard input ends, with the marker among its arguments.
fn process(marker: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read -r _", marker]).stdin(Stdio::piped()).stdout(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.spawn().expect("start a shell")
}

/// Returns an address of this host that is not a loopback address. Connecting the datagram socket sends no packet.
fn other_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}

/// Makes a System V shared memory segment that every user may attach. Its id is a number that can be guessed.
fn shared_memory() -> Option<u32> {
    let made = Command::new("ipcmk").args(["-M", "4096", "-p", "0666"]).output().ok()?;
    String::from_utf8(made.stdout).ok()?.trim().rsplit(' ').next()?.parse().ok()
}

/// Returns the names of this process's namespaces.
fn namespaces() -> String {
    let name = |name| fs::read_link(format!("/proc/self/ns/{name}")).expect("a process has namespaces");
    NAMESPACES.map(|namespace| name(namespace).display().to_string()).join(" ")
}
