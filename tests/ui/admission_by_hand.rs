use postern::engine::Admission;

fn forge(permit: postern::policy::Permit, receipt: postern::audit::Receipt) -> Admission {
    Admission { inner: (permit, receipt) }
}

fn main() {}
