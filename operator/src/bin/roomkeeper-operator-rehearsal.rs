//! The operator's program with a clock that can be moved and with failpoints: for tests, never shipped.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    roomkeeper_operator::program().await
}
