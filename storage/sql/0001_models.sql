-- Registry of trained minds. One row per version; the rules that must never be broken, whoever writes, are
-- constraints of the table and not only of the program.

CREATE TABLE ml_models (
    model_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    archetype       text NOT NULL CHECK (archetype <> ''),
    model_type      text NOT NULL CHECK (model_type <> ''),
    version         integer NOT NULL CHECK (version >= 1),
    state           text NOT NULL DEFAULT 'trained'
                    CHECK (state IN ('trained', 'exported', 'validated', 'deployed')),
    is_deployed     boolean NOT NULL DEFAULT false,
    metrics         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metrics) = 'object'),
    gate            text CHECK (gate IN ('pass', 'fail', 'undecided')),
    gate_reasons    text[] NOT NULL DEFAULT '{}',
    artifacts       jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(artifacts) = 'object'),
    -- The file that a service loads unless it wants another form; derived, so that it cannot disagree.
    artifact_uri    text GENERATED ALWAYS AS (
                        coalesce(artifacts -> 'onnx_fp32' ->> 'uri', artifacts -> 'onnx_fp16' ->> 'uri')
                    ) STORED,
    sha256          text GENERATED ALWAYS AS (
                        coalesce(artifacts -> 'onnx_fp32' ->> 'sha256', artifacts -> 'onnx_fp16' ->> 'sha256')
                    ) STORED,
    contracts       jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(contracts) = 'object'),
    run_id          text NOT NULL CHECK (run_id <> ''),
    lineage         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(lineage) = 'object'),
    source_revision text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    deployed_at     timestamptz,

    CONSTRAINT ml_models_version UNIQUE (archetype, model_type, version),
    -- From "exported" on there is an artefact, and only from then on.
    CONSTRAINT ml_models_artifact CHECK (
        (state = 'trained') = (artifact_uri IS NULL) AND (artifact_uri IS NULL) = (sha256 IS NULL)
    ),
    CONSTRAINT ml_models_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ml_models_gate CHECK ((state IN ('validated', 'deployed')) = (gate IS NOT NULL)),
    CONSTRAINT ml_models_deployed CHECK (is_deployed = (state = 'deployed')),
    CONSTRAINT ml_models_deployed_passed CHECK (NOT is_deployed OR gate IS NOT DISTINCT FROM 'pass')
);

CREATE UNIQUE INDEX ml_models_one_deployed ON ml_models (archetype, model_type) WHERE is_deployed;
CREATE INDEX ml_models_run ON ml_models (run_id);

COMMENT ON TABLE ml_models IS 'Registry of trained minds: one row per archetype, model type and version';
COMMENT ON COLUMN ml_models.metrics IS 'Named numbers of training and validation; NaN is stored as null';
COMMENT ON COLUMN ml_models.artifacts IS 'Form (weights, onnx_fp32, onnx_fp16) -> uri, sha256, bytes';
