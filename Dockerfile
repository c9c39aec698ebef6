# docker build -t warranty . ; `make image` writes the same layers where no engine runs.
FROM rust:1.95-bookworm AS build
WORKDIR /warranty
COPY . .
RUN cargo build --release --locked && helm/image root target/release/warranty /image

# The binary, what it is linked with, CA roots, and nothing else: no shell, no user but a number.
FROM scratch
COPY --from=build /image/ /
USER 65532:65532
HEALTHCHECK CMD ["/usr/bin/warranty", "health"]
ENTRYPOINT ["/usr/bin/warranty"]
