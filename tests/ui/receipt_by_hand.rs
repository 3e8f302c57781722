use postern::audit::Receipt;

fn main() {
    let _forged = Receipt::default();
}
