# One image for every process. Whole installation, as `npm start` without the preparation:
#   docker run --network host -v femtopki:/data femtopki
# One process a container, as in production (`publicUrls`, `databaseUrl`, token module in the file):
#   docker run --read-only --tmpfs /tmp -v femtopki:/data -v ./femtopki.yaml:/etc/femtopki.yaml:ro femtopki dist/apps/status-server.js --config /etc/femtopki.yaml
# (enrol-server: `--max-semi-space-size=64` before its file)
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY . .
# The same preparation as on a machine of its own, so that there is no second list of steps; then what only it needed goes.
RUN node bin/prepare.mjs run && npm prune --omit=dev --ignore-scripts --no-audit --no-fund && rm -rf .cache src/platform/db/generated

FROM ${NODE_IMAGE}
# Token, the independent judges of the story, certificates. No compiler.
RUN apt-get update \
 && apt-get install -y --no-install-recommends softhsm2 openssl gnutls-bin curl faketime ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin femtopki \
 && install -d -o femtopki -g femtopki -m 0700 /data
WORKDIR /app
COPY --from=build /app /app
ENV NODE_ENV=production FEMTOPKI_DATA_DIR=/data HOME=/data
USER 10001
VOLUME /data
ENTRYPOINT ["node"]
CMD ["bin/serve.mjs"]
