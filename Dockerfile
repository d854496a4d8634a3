# The image of `bailiwick serve`. Plain instructions only: any builder will do, BuildKit is not needed.

FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# What `bailiwick version` and the metric `build_info` say.
ARG BAILIWICK_COMMIT=unknown
ENV BAILIWICK_COMMIT=$BAILIWICK_COMMIT
COPY Cargo.toml Cargo.lock ./
# Cargo wants the bench target of the manifest to exist; it is not built.
COPY benches ./benches
# The sample company is part of the binary: `bailiwick demo`.
COPY policies ./policies
COPY src ./src
RUN cargo build --release --locked --bin bailiwick

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl3 ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /build/target/release/bailiwick /usr/local/bin/bailiwick
# Numeric, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 10001:10001
EXPOSE 8443 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s \
    CMD ["bailiwick", "healthcheck", "--config", "/etc/bailiwick/config.yaml"]
ENTRYPOINT ["/usr/local/bin/bailiwick"]
CMD ["serve", "--config", "/etc/bailiwick/config.yaml"]
