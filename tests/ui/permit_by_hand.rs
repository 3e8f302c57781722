use postern::policy::{Permit, Reason};

fn main() {
    let _forged = Permit { reason: Reason::SessionByConsent, staff: None };
}
