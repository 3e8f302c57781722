use super::*;

#[test]
fn names_are_those_of_the_record() {
    let mut known = Event::NAMES.to_vec();
    known.sort_unstable();
    known.dedup();
    assert_eq!(known.len(), Event::NAMES.len());
    // The record's reader says which names it knows.
    let told = serde_json::from_str::<Event>("{\"event\":\"?\"}").unwrap_err().to_string();
    let told: Vec<&str> = told.split('`').skip(1).step_by(2).filter(|name| *name != "?").collect();
    assert_eq!(told, Event::NAMES);
    for text in [
        r#"{"event":"tenant_registered"}"#,
        r#"{"event":"approval_changed","required":true}"#,
        r#"{"event":"grant_ended","grant":"gra_1","cause":"expired","at":"2026-07-01T12:00:00.000Z"}"#,
        r#"{"event":"request_questioned","request":"req_1"}"#,
    ] {
        let event: Event = serde_json::from_str(text).unwrap();
        assert!(text.contains(&format!("\"event\":\"{}\"", event.name())), "{text}");
        assert_eq!(event.since().is_some(), text.contains("\"at\""), "{text}");
    }
}
