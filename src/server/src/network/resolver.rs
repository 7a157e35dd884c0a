//! Answers the DNS questions of programs in a sandbox with fake addresses. No question leaves the machine.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;

use super::dns::{self, DnsAnswer, InvalidQuestion, Question, QuestionKind};
use super::names::NameError;
use super::refusals::{RefusalReason, RefusedConnection};
use super::{RETRY_DELAY, SandboxNetwork};
use sandbox_manifest::policy::HostName;

/// Answers questions until the future is dropped.
pub async fn answer(socket: UdpSocket, network: Arc<SandboxNetwork>) {
    let mut buffer = [0; dns::MAX_MESSAGE_BYTES];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                network.question_rate.acquire().await;
                if let Some(response) = respond(&buffer[..length], &network) {
                    send(&socket, &response, from).await;
                }
            }
            // Either an earlier answer was not delivered (ECONNREFUSED), or memory is short.
            Err(error) => {
                tracing::debug!("cannot read a DNS question of a sandbox: {error}");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

async fn send(socket: &UdpSocket, response: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(response, to).await {
        tracing::debug!("cannot send a DNS answer to a sandbox: {error}");
    }
}

fn respond(message: &[u8], network: &SandboxNetwork) -> Option<Vec<u8>> {
    match Question::parse(message) {
        Ok(question) => Some(question.answer(resolve(&question, network))),
        Err(InvalidQuestion::Refuse(code)) => Some(dns::refusal(message, code)),
        Err(InvalidQuestion::Ignore) => None,
    }
}

fn resolve(question: &Question, network: &SandboxNetwork) -> DnsAnswer {
    let found = match HostName::of_labels(&question.labels) {
        Some(name) => network.names.address_of(&name),
        None => Err(NameError::NotListed),
    };
    match (found, question.kind) {
        (Ok(address), QuestionKind::Address) => DnsAnswer::Address(address),
        (Ok(_), QuestionKind::Other) => DnsAnswer::Nothing,
        (Err(NameError::NotListed), _) => {
            if !is_about_the_sandbox(&question.labels) {
                record(question, RefusalReason::NotListed, network);
            }
            DnsAnswer::NoSuchName
        }
        (Err(NameError::Exhausted), _) => {
            record(question, RefusalReason::Exhausted, network);
            DnsAnswer::Failed
        }
    }
}

/// Returns whether a name is for a reverse lookup, which programs make for their logs, or for the sandbox itself.
/// Neither means that the program wants to connect to another host.
fn is_about_the_sandbox(labels: &[&[u8]]) -> bool {
    let last = labels.last().map(|label| label.to_ascii_lowercase());
    labels.is_empty() || matches!(last.as_deref(), Some(b"arpa" | b"localhost"))
}

fn record(question: &Question, reason: RefusalReason, network: &SandboxNetwork) {
    let host = String::from_utf8_lossy(&question.labels.join(&b'.')).to_ascii_lowercase();
    network.refusals.add(&RefusedConnection { host, port: None, reason });
}

/// Registers a socket that was opened in a sandbox with the current runtime.
pub fn adopt(socket: std::os::fd::OwnedFd) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::dns::tests::question;
    use sandbox_manifest::policy::{Entry, Pattern};

    const LIST: &[Entry] = &[
        Entry { to: Pattern::Name("api.example.org"), port: 443 },
        Entry { to: Pattern::Below("example.com"), port: 443 },
    ];
    const A: u16 = 1;
    const AAAA: u16 = 28;

    /// Returns the response code, the address if there is one, and the recorded refusals.
    fn asked(message: &[u8]) -> (u8, Option<[u8; 4]>, Vec<String>) {
        let network = SandboxNetwork::new(LIST);
        let response = respond(message, &network).unwrap();
        let address = (response[7] == 1).then(|| response[response.len() - 4..].try_into().unwrap());
        (response[3] & 0xf, address, network.refusals.take().kept)
    }

    #[test]
    fn allowed_name_has_a_fake_ipv4_address_and_no_ipv6() {
        assert_eq!(asked(&question("API.example.org", A)), (0, Some([198, 18, 1, 1]), vec![]));
        assert_eq!(asked(&question("api.example.org", AAAA)), (0, None, vec![]));
        assert_eq!(asked(&question("a.b.example.com", A)), (0, Some([198, 19, 0, 1]), vec![]));
    }

    #[test]
    fn unlisted_name_does_not_exist_and_is_recorded() {
        for name in ["example.org", "api.example.org.evil.org", "example.com", "8.8.8.8", "intranet"] {
            let refused = vec![format!("connection to {name} was refused: not on the allow-list")];
            assert_eq!(asked(&question(name, A)), (3, None, refused.clone()));
            assert_eq!(asked(&question(name, AAAA)), (3, None, refused));
        }
    }

    #[test]
    fn label_with_a_dot_does_not_pass_for_two_labels() {
        let mut message = question("apiXexample.org", A);
        message[16] = b'.';
        let refused = vec!["connection to api.example.org was refused: not on the allow-list".to_owned()];
        assert_eq!(asked(&message), (3, None, refused));
    }

    #[test]
    fn reverse_and_local_names_do_not_exist_and_are_not_recorded() {
        for name in ["1.0.18.198.in-addr.arpa", "localhost", "a.LOCALHOST", ""] {
            assert_eq!(asked(&question(name, A)), (3, None, vec![]), "{name}");
        }
    }

    #[test]
    fn too_many_names_are_recorded_and_fail() {
        let network = SandboxNetwork::new(LIST);
        let codes: Vec<u8> = (0..1025)
            .map(|index| respond(&question(&format!("n{index}.example.com"), A), &network).unwrap()[3] & 0xf)
            .collect();
        assert!(codes[..1024].iter().all(|code| *code == 0) && codes[1024] == 2);
        let refused = "connection to n1024.example.com was refused: the sandbox has asked for too many names";
        assert_eq!(network.refusals.take().kept, [refused]);
    }
}
