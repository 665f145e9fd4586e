//! The Lambda function. Everything is in the library.

fn main() -> std::process::ExitCode {
    alb502::lambda::main()
}
