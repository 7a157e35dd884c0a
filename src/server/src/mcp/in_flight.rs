//! The requests that are not answered yet, by their ids.
//!
//! rmcp answers one of two requests with the same id, and never the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::RequestId;
use tokio::sync::Notify;

/// The ids in use. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    requests: Mutex<HashMap<RequestId, RequestState>>,
    changed: Notify,
}

/// How far a request has come. A cancelled one gets no answer, so its id is free once its handler has ended.
#[derive(Debug, Default)]
struct RequestState {
    is_cancelled: bool,
    has_ended: bool,
}

/// A request whose handler is running. Dropping this tells that it has ended.
#[derive(Debug)]
pub struct Handling {
    in_flight: InFlight,
    id: RequestId,
}

impl InFlight {
    /// Adds a request. Returns whether its id was free.
    pub fn begin(&self, id: &RequestId) -> bool {
        let mut requests = self.requests();
        let is_free = !requests.contains_key(id);
        if is_free {
            requests.insert(id.clone(), RequestState::default());
        }
        is_free
    }

    /// Notes that a request is being handled.
    pub fn handle(&self, id: &RequestId) -> Handling {
        Handling { in_flight: self.clone(), id: id.clone() }
    }

    /// Notes that a client has cancelled a request.
    pub fn cancel(&self, id: &RequestId) {
        self.update(id, |request| request.is_cancelled = true);
    }

    /// Frees the id of a request that is answered.
    pub fn answered(&self, id: &RequestId) {
        self.requests().remove(id);
        self.0.changed.notify_waiters();
    }

    /// Waits until an id is free.
    pub async fn freed(&self, id: &RequestId) {
        loop {
            let changed = self.0.changed.notified();
            if !self.requests().contains_key(id) {
                return;
            }
            changed.await;
        }
    }

    fn update(&self, id: &RequestId, change: impl FnOnce(&mut RequestState)) {
        let mut requests = self.requests();
        if let Some(request) = requests.get_mut(id) {
            change(request);
            if request.is_cancelled && request.has_ended {
                requests.remove(id);
            }
        }
        drop(requests);
        self.0.changed.notify_waiters();
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<RequestId, RequestState>> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        // A handler that panics has no answer.
        let has_no_answer = std::thread::panicking();
        self.in_flight.update(&self.id, |request| {
            request.has_ended = true;
            request.is_cancelled |= has_no_answer;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId::Number(7);

    #[test]
    fn id_is_in_use_until_its_request_is_answered() {
        let in_flight = InFlight::default();
        assert!(in_flight.begin(&ID) && !in_flight.begin(&ID));
        assert!(in_flight.begin(&RequestId::String("7".into())), "it is another id");
        drop(in_flight.handle(&ID));
        assert!(!in_flight.begin(&ID), "its answer is on its way");
        in_flight.answered(&ID);
        assert!(in_flight.begin(&ID));
    }

    #[test]
    fn id_of_a_cancelled_request_is_free_when_it_has_ended() {
        let in_flight = InFlight::default();
        in_flight.begin(&ID);
        let handling = in_flight.handle(&ID);
        in_flight.cancel(&ID);
        assert!(!in_flight.begin(&ID), "its handler still clears up");
        drop(handling);
        assert!(in_flight.begin(&ID));
        drop(in_flight.handle(&ID));
        in_flight.cancel(&ID);
        assert!(in_flight.begin(&ID), "rmcp drops its answer");
    }

    #[tokio::test]
    async fn id_of_a_handler_that_panics_is_free() {
        let in_flight = InFlight::default();
        in_flight.begin(&ID);
        let handling = in_flight.handle(&ID);
        let handler = tokio::spawn(async move {
            let _handling = handling;
            panic!("as some handler might");
        });
        handler.await.expect_err("it panics");
        in_flight.freed(&ID).await;
        assert!(in_flight.begin(&ID));
    }
}
