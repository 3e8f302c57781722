use postern::{identity::VerifiedSubject, model::Subject};

fn forge(subject: Subject) -> VerifiedSubject {
    VerifiedSubject::from(subject)
}

fn main() {}
