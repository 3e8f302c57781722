use postern::engine::Admission;

fn spend(_: Admission) {}

fn twice(admission: Admission) {
    spend(admission.clone());
    spend(admission);
}

fn main() {}
