# The coordinator. Build from the root of the repository:
#   docker build -f deploy/docker/coordinator.Dockerfile -t seedbed-coordinator .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --workspace --bins

FROM debian:bookworm-slim
RUN useradd --system --create-home --home-dir /var/lib/seedbed seedbed
COPY --from=build /src/target/release/coordinator /usr/local/bin/coordinator
USER seedbed
WORKDIR /var/lib/seedbed
VOLUME /var/lib/seedbed
EXPOSE 7070
# SIGTERM drains; give it 30 s: docker run --stop-timeout 30
STOPSIGNAL SIGTERM
ENTRYPOINT ["coordinator"]
CMD ["serve", "--state", "/var/lib/seedbed/state", "--listen", "0.0.0.0:7070", "--tls", "/etc/seedbed/tls", "--tokens", "/etc/seedbed/tokens.toml"]
