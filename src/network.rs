//! Network access by allow-list: a sandbox reaches the hosts and ports that its definition lists, and nothing else.

pub mod address;
pub mod policy;
