//! The support API: consent, grants and sessions for tenants' administrators and the vendor's staff.
//!
//! Never here: committing or recording (that is [`crate::engine`]), a rule.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;

use crate::engine::{Engine, knock::Who};

/// See the module's header.
pub struct Api {
    engine: Arc<Engine>,
}

impl Api {
    /// An API over an engine.
    pub fn new(engine: Arc<Engine>) -> Api {
        Api { engine }
    }

    /// Answers one request below the reserved prefix.
    pub async fn answer(
        &self,
        _request: http::Request<Bytes>,
        _who: Who,
        _client: IpAddr,
    ) -> http::Response<Bytes> {
        let _ = self.engine.now();
        let mut answer = http::Response::new(Bytes::new());
        *answer.status_mut() = http::StatusCode::NOT_FOUND;
        answer
    }
}
