//! The `bailiwick` command.

fn main() -> std::process::ExitCode {
    bailiwick::cli::main()
}
