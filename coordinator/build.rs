//! Migrations are embedded in the program: a new one must rebuild it.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
