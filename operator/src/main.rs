//! The operator's program.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    roomkeeper_operator::program().await
}
