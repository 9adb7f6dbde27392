-- What pages look up. Rows have numbers, so that indexes are small; ids are told at the border.
-- Documents are numbered by date, undated after dated, then by URI: the earlier one has the lower number.
CREATE TABLE documents (
    number INTEGER PRIMARY KEY,
    document_id TEXT NOT NULL,
    uri TEXT NOT NULL,
    title TEXT,
    author TEXT,
    site TEXT,
    series TEXT,
    language TEXT,
    published_at TEXT,          -- as 2024-11-12T06:00:00Z, so that they sort
    published_us INTEGER,       -- the same in microseconds since 1970, of which none is lost
    published_from TEXT NOT NULL,
    origin TEXT,                -- site, series or folder, or when it was published
    paragraphs INTEGER NOT NULL,
    words INTEGER NOT NULL,
    reused_words INTEGER NOT NULL, -- words that stand, or are aligned, in another document too
    partners INTEGER NOT NULL   -- documents that it shares passages with
);
CREATE TABLE provenance (       -- of each document what only its own page tells
    document INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL,
    text_sha256 TEXT NOT NULL,
    media_type TEXT NOT NULL,
    encoding TEXT NOT NULL,
    encoding_from TEXT NOT NULL,
    decode_errors INTEGER NOT NULL,
    extractor TEXT NOT NULL,
    extractor_version TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    unanchored INTEGER NOT NULL,
    run_id TEXT NOT NULL
);
CREATE TABLE sources (
    number INTEGER PRIMARY KEY, -- in the order of documents and URIs
    document INTEGER NOT NULL,
    uri TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    modified_at TEXT NOT NULL,
    target_uri TEXT,
    captured_at TEXT,
    run_id TEXT NOT NULL
);
CREATE TABLE texts (
    number INTEGER PRIMARY KEY,
    text_id TEXT NOT NULL,
    paragraph INTEGER NOT NULL, -- number of the representative
    words INTEGER NOT NULL,
    documents INTEGER NOT NULL, -- that it stands in
    alike INTEGER NOT NULL,     -- that it stands, or shares a passage, in
    text TEXT NOT NULL
);
CREATE TABLE occurrences (
    document INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    text INTEGER NOT NULL,
    start_char INTEGER NOT NULL,
    end_char INTEGER NOT NULL,
    start_byte INTEGER,
    end_byte INTEGER,
    shift_at TEXT,              -- JSON; null where it is empty
    shift_by TEXT,
    stretch_start TEXT,         -- the same
    stretch_end TEXT,
    PRIMARY KEY (document, ordinal)
) WITHOUT ROWID;
CREATE TABLE "overlaps" (       -- each in both directions
    one INTEGER NOT NULL,
    other INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    relation TEXT NOT NULL,
    PRIMARY KEY (one, other)
) WITHOUT ROWID;
CREATE TABLE pairs (            -- of documents, each in both directions
    one INTEGER NOT NULL,
    other INTEGER NOT NULL,
    matched INTEGER NOT NULL,   -- words that their texts share
    own INTEGER NOT NULL,       -- of these, words of texts that do not recur
    PRIMARY KEY (one, other)
) WITHOUT ROWID;
CREATE TABLE rejects (
    number INTEGER PRIMARY KEY,
    uri TEXT NOT NULL,
    bytes INTEGER,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    run_id TEXT NOT NULL
);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
