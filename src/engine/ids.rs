//! New identifiers: a prefix that tells what it is, and a UUID of version 7, so that they rise with time.

use aws_lc_rs::rand;

use crate::model::Timestamp;

/// A new id, such as `ses_0192…`. Unique; no secret.
///
/// The random part comes from the operating system; where even that fails the time alone would repeat itself, so the
/// failure is passed on.
pub fn new_id(prefix: &str, now: Timestamp) -> Result<String, RandomFailed> {
    let mut random = [0u8; 10];
    rand::fill(&mut random).map_err(|_| RandomFailed)?;
    let millis = u64::try_from(now.ms()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    Ok(format!("{prefix}_{}", id.simple()))
}

/// The least id that can be made at an instant: whatever was made before sorts before it.
pub fn first_id(prefix: &str, at: Timestamp) -> String {
    let millis = u64::try_from(at.ms()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid();
    format!("{prefix}_{}", id.simple())
}

/// When an id says that it was made, in milliseconds; `None` where it is none of these.
pub(super) fn made_ms(id: &str) -> Option<i64> {
    let digits = id.rsplit_once('_')?.1.get(..12)?;
    i64::from_str_radix(digits, 16).ok()
}

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct RandomFailed;
