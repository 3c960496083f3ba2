# The services a cluster stands on that have no image of their own, in the versions that Elanus is tested with: see scripts/services.mjs.
FROM debian:bookworm-slim AS etcd
# Debian keeps no older versions to pin: the release is the pin.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends etcd-server \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home service \
 && mkdir /data && chown service /data
USER 1000
VOLUME /data
EXPOSE 2379
ENTRYPOINT ["etcd", "--data-dir", "/data/etcd", "--listen-client-urls", "http://0.0.0.0:2379"]
CMD ["--advertise-client-urls", "http://etcd:2379", "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1h", "--max-txn-ops", "65536", "--max-request-bytes", "67108864"]

FROM golang:1.26-bookworm AS minio-build
RUN go install -trimpath -ldflags "-s -w" github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

FROM debian:bookworm-slim AS minio
# Debian keeps no older versions to pin: the release is the pin.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home service \
 && mkdir -p /data/elanus && chown -R service /data
COPY --from=minio-build /go/bin/minio /usr/local/bin/minio
USER 1000
VOLUME /data
EXPOSE 9000
# A folder of a single drive is a bucket: /data/elanus.
ENTRYPOINT ["minio", "server", "--quiet", "--address", ":9000", "/data"]
