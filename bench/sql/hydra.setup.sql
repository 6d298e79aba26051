-- Ory Hydra 2's tables of codes and of their code challenges, with its indexes. Its foreign keys are left out:
-- all codes here have one client, whose row every INSERT would lock.
CREATE TABLE hydra_oauth2_code (
  signature          varchar(255) PRIMARY KEY,
  request_id         varchar(40)  NOT NULL,
  requested_at       timestamp    NOT NULL DEFAULT now(),
  client_id          varchar(255) NOT NULL,
  scope              text         NOT NULL,
  granted_scope      text         NOT NULL,
  form_data          text         NOT NULL,
  session_data       text         NOT NULL,
  subject            varchar(255) NOT NULL DEFAULT '',
  active             boolean      NOT NULL DEFAULT true,
  requested_audience text         DEFAULT '',
  granted_audience   text         DEFAULT '',
  challenge_id       varchar(40),
  nid                uuid         NOT NULL,
  expires_at         timestamp
);
CREATE INDEX ON hydra_oauth2_code (client_id, nid);
CREATE INDEX ON hydra_oauth2_code (challenge_id, nid);
CREATE TABLE hydra_oauth2_pkce (LIKE hydra_oauth2_code INCLUDING DEFAULTS, PRIMARY KEY (signature));
CREATE INDEX ON hydra_oauth2_pkce (client_id, nid);
CREATE INDEX ON hydra_oauth2_pkce (challenge_id);
