# Images of oplab. The bundles come from `npm run build`; everything else is copied from public images, so that the
# build itself needs no package of ours. Targets: oplab, oplab-sandbox, load (the patient's load with its ledger).
#
# Each source is an argument: a mirror, or an image made elsewhere, can stand in for it.
ARG NODE_IMAGE=node:24-bookworm-slim
ARG BASE=debian:bookworm-slim
ARG GO_IMAGE=golang:1.26-bookworm
ARG KUBECTL_IMAGE=registry.k8s.io/kubectl:v1.36.3
ARG HELM_IMAGE=alpine/helm:4.0.0
ARG DOCKER_CLI_IMAGE=docker:28-cli
ARG PD_IMAGE=pingcap/pd:v8.5.3

# Stages that only name a source, since COPY --from takes no argument.
FROM ${KUBECTL_IMAGE} AS kubectl
FROM ${HELM_IMAGE} AS helm
FROM ${DOCKER_CLI_IMAGE} AS docker-cli
FROM ${PD_IMAGE} AS pd
FROM ${NODE_IMAGE} AS node

FROM ${GO_IMAGE} AS load-build
WORKDIR /src
COPY lab/load/ ./
RUN CGO_ENABLED=0 go build -buildvcs=false -mod=mod -trimpath -ldflags '-s -w -checklinkname=0' -o /oplab-load .

FROM ${BASE} AS load
COPY --from=load-build /oplab-load /oplab-load
LABEL org.opencontainers.image.title="oplab-load" \
      org.opencontainers.image.description="Transactional load on TiKV with a write ledger" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532
ENTRYPOINT ["/oplab-load"]

FROM ${BASE} AS oplab
RUN command -v tini >/dev/null && test -s /etc/ssl/certs/ca-certificates.crt \
    || { apt-get update \
      && apt-get install -y --no-install-recommends ca-certificates tini libstdc++6 \
      && rm -rf /var/lib/apt/lists/*; }
RUN id oplab 2>/dev/null || useradd --uid 65532 --user-group --create-home --shell /bin/bash oplab
# Executable but not readable: the kernel then lets no process of the same user read or write its memory, and
# --disable-sigusr1 keeps its debugger shut.
COPY --from=node --chmod=0711 /usr/local/bin/node /usr/local/bin/node
LABEL org.opencontainers.image.title="oplab" \
      org.opencontainers.image.description="Controller, gateway, agent and command line of oplab" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production HOME=/home/oplab
WORKDIR /home/oplab
USER 65532
ENTRYPOINT ["tini", "--", "node", "--disable-sigusr1", "--enable-source-maps", "/opt/oplab/dist/main.mjs"]
COPY dist/ /opt/oplab/dist/

FROM ${BASE} AS oplab-sandbox
RUN command -v tini >/dev/null && command -v dig >/dev/null && command -v jq >/dev/null \
    || { apt-get update \
      && apt-get install -y --no-install-recommends bash ca-certificates curl dnsutils iproute2 iputils-ping jq less \
        libstdc++6 netcat-openbsd openssl procps tini vim-tiny \
      && rm -rf /var/lib/apt/lists/*; }
RUN id oplab 2>/dev/null || useradd --uid 65532 --user-group --create-home --shell /bin/bash oplab
COPY --from=node --chmod=0711 /usr/local/bin/node /usr/local/bin/node
COPY --from=kubectl /bin/kubectl /usr/local/bin/kubectl
COPY --from=helm /usr/bin/helm /usr/local/bin/helm
COPY --from=docker-cli /usr/local/bin/docker /usr/local/bin/docker
COPY --from=pd /pd-ctl /usr/local/bin/pd-ctl
LABEL org.opencontainers.image.title="oplab-sandbox" \
      org.opencontainers.image.description="The sandbox beside the agent: a shell and what an engineer on call reaches for" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production HOME=/home/oplab SHELL=/bin/bash
WORKDIR /home/oplab
USER 65532
ENTRYPOINT ["tini", "-s", "--", "node", "--disable-sigusr1", "--enable-source-maps", "/opt/oplab/dist/main.mjs", "sandbox"]
COPY dist/ /opt/oplab/dist/
