//! Sockets that a sandbox's first process opens for the caller.

use std::net::{TcpListener, UdpSocket};

use sandbox_plan::{MAX_REPORT_BYTES, Plan, Report, Route, Step, decode};

use crate::descriptors::receive;
use crate::support::{TestCaller, as_everybody};

fn plan(caller: &TestCaller, script: &str, listeners: &[&str]) -> Plan {
    let mut plan = caller.plan(script);
    plan.environment.sandbox.push(Step::Gateway {
        routes: vec![Route { network: [198, 18, 0, 0].into(), prefix: 15 }],
        listeners: listeners.iter().map(|address| address.parse().unwrap()).collect(),
        resolver: "198.18.0.1:53".parse().unwrap(),
    });
    plan
}

#[test]
fn gateway_sockets_come_in_order_before_the_start() {
    as_everybody(|caller| {
        let running = caller.start(&plan(&caller, "echo fine", &["198.18.1.2:80", "0.0.0.0:443"]));
        let (mut bytes, mut sockets) = receive(running.call());
        assert_eq!(decode::<Report>(&mut bytes, MAX_REPORT_BYTES).unwrap(), Some(Report::Opened));
        assert_eq!((sockets.len(), bytes.len()), (4, 0));
        sockets.pop();
        let resolver = UdpSocket::from(sockets.pop().unwrap());
        assert_eq!(resolver.local_addr().unwrap().to_string(), "198.18.0.1:53");
        let addresses = sockets.into_iter().map(|socket| TcpListener::from(socket).local_addr().unwrap().to_string());
        assert_eq!(addresses.collect::<Vec<_>>(), ["198.18.1.2:80", "0.0.0.0:443"]);
        let outcome = running.finish();
        assert!(outcome.started);
        assert_eq!(outcome.text(), "fine");
    });
}

#[test]
fn gateway_sockets_are_not_inherited_by_the_program() {
    as_everybody(|caller| {
        let outcome =
            caller.run(&plan(&caller, "for fd in /proc/$$/fd/*; do readlink $fd; done; true", &["198.18.1.1:80"]));
        assert!(!outcome.text().contains("socket:"), "{outcome:?}");
        assert_eq!(outcome.text().lines().filter(|line| line.starts_with("pipe:")).count(), 2, "{outcome:?}");
    });
}

#[test]
fn gateway_that_cannot_be_opened_is_a_failure() {
    as_everybody(|caller| {
        for (listeners, errno) in
            [(vec!["203.0.113.1:80"], libc::EADDRNOTAVAIL), (vec!["198.18.1.1:80"; 2], libc::EADDRINUSE)]
        {
            let outcome = caller.run(&plan(&caller, "true", &listeners));
            assert_eq!(outcome.failure(), ("open the sockets of the network's gateway", errno));
        }
    });
}
