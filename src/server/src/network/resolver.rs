//! Answers what programs in a sandbox ask the DNS: with fake addresses, and without asking anybody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;

use super::dns::{self, Answer, Kind, NoQuestion, Question};
use super::names::NoAddress;
use super::refusals::{Reason, Refusal};
use super::{RETRY, Service};
use sandbox_manifest::policy::HostName;

/// Answers until it is dropped.
pub async fn answer(socket: UdpSocket, service: Arc<Service>) {
    let mut buffer = [0; dns::LARGEST_QUESTION];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                service.questions.turn().await;
                if let Some(response) = respond(&buffer[..length], &service) {
                    send(&socket, &response, from).await;
                }
            }
            // It is a report that an answer reached nobody, or memory is short.
            Err(error) => {
                tracing::debug!("a question of a sandbox was lost: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn send(socket: &UdpSocket, response: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(response, to).await {
        tracing::debug!("an answer to a sandbox was lost: {error}");
    }
}

fn respond(message: &[u8], service: &Service) -> Option<Vec<u8>> {
    match Question::parse(message) {
        Ok(question) => Some(question.answer(resolve(&question, service))),
        Err(NoQuestion::Refuse(code)) => Some(dns::refusal(message, code)),
        Err(NoQuestion::Ignore) => None,
    }
}

fn resolve(question: &Question, service: &Service) -> Answer {
    let found = match HostName::of_labels(&question.labels) {
        Some(name) => service.names.address_of(&name),
        None => Err(NoAddress::NotListed),
    };
    match (found, question.kind) {
        (Ok(address), Kind::Address) => Answer::Address(address),
        (Ok(_), Kind::Other) => Answer::Nothing,
        (Err(NoAddress::NotListed), _) => {
            if !is_about_the_sandbox(&question.labels) {
                record(question, Reason::NotListed, service);
            }
            Answer::NoSuchName
        }
        (Err(NoAddress::Exhausted), _) => {
            record(question, Reason::Exhausted, service);
            Answer::Failed
        }
    }
}

/// The name of an address, which is looked up for logs, and of the sandbox itself: nobody wants to connect there.
fn is_about_the_sandbox(labels: &[&[u8]]) -> bool {
    let last = labels.last().map(|label| label.to_ascii_lowercase());
    labels.is_empty() || matches!(last.as_deref(), Some(b"arpa" | b"localhost"))
}

fn record(question: &Question, reason: Reason, service: &Service) {
    let host = String::from_utf8_lossy(&question.labels.join(&b'.')).to_ascii_lowercase();
    service.record.add(&Refusal { host, port: None, reason });
}

/// Makes a socket that was opened in a sandbox one of this server's runtime.
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

    /// The response code, the address if there is one, and what was recorded.
    fn asked(message: &[u8]) -> (u8, Option<[u8; 4]>, Vec<String>) {
        let service = Service::new(LIST);
        let response = respond(message, &service).unwrap();
        let address = (response[7] == 1).then(|| response[response.len() - 4..].try_into().unwrap());
        (response[3] & 0xf, address, service.record.take().kept)
    }

    #[test]
    fn an_allowed_name_has_a_fake_address_and_no_ipv6_address() {
        assert_eq!(asked(&question("API.example.org", A)), (0, Some([198, 18, 1, 1]), vec![]));
        assert_eq!(asked(&question("api.example.org", AAAA)), (0, None, vec![]));
        assert_eq!(asked(&question("a.b.example.com", A)), (0, Some([198, 19, 0, 1]), vec![]));
    }

    #[test]
    fn any_other_name_does_not_exist_and_is_recorded() {
        for name in ["example.org", "api.example.org.evil.org", "example.com", "8.8.8.8", "intranet"] {
            let refused = vec![format!("connection to {name} was refused: not on the allow-list")];
            assert_eq!(asked(&question(name, A)), (3, None, refused.clone()));
            assert_eq!(asked(&question(name, AAAA)), (3, None, refused));
        }
    }

    #[test]
    fn a_label_with_a_dot_does_not_pass_for_two() {
        let mut message = question("apiXexample.org", A);
        message[16] = b'.';
        let refused = vec!["connection to api.example.org was refused: not on the allow-list".to_owned()];
        assert_eq!(asked(&message), (3, None, refused));
    }

    #[test]
    fn names_of_addresses_and_of_the_sandbox_itself_do_not_exist_and_are_not_recorded() {
        for name in ["1.0.18.198.in-addr.arpa", "localhost", "a.LOCALHOST", ""] {
            assert_eq!(asked(&question(name, A)), (3, None, vec![]), "{name}");
        }
    }

    #[test]
    fn a_sandbox_that_asks_for_too_many_names_is_told_so() {
        let service = Service::new(LIST);
        let codes: Vec<u8> = (0..1025)
            .map(|index| respond(&question(&format!("n{index}.example.com"), A), &service).unwrap()[3] & 0xf)
            .collect();
        assert!(codes[..1024].iter().all(|code| *code == 0) && codes[1024] == 2);
        let refused = "connection to n1024.example.com was refused: the sandbox has asked for too many names";
        assert_eq!(service.record.take().kept, [refused]);
    }
}
