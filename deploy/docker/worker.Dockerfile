# A worker that computes on the CPU. Build from the root of the repository:
#   docker build -f deploy/docker/worker.Dockerfile -t seedbed-worker .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --workspace --bins

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /var/lib/seedbed seedbed
COPY --from=build /src/target/release/worker /usr/local/bin/worker
USER seedbed
WORKDIR /var/lib/seedbed
VOLUME /var/lib/seedbed
# SIGTERM writes a checkpoint and gives the job back: docker run --stop-timeout 120
STOPSIGNAL SIGTERM
# The coordinator's address comes as SEEDBED_COORDINATOR.
ENTRYPOINT ["worker"]
CMD ["--cache", "/var/lib/seedbed/cache", "--ca", "/etc/seedbed/tls/ca.pem", "--token-file", "/etc/seedbed/token"]
