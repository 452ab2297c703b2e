/** In order; the number applied stands in the file as `user_version`. One that was released never changes. */
export const migrations: readonly string[] = [
  // 2026-11-26: downloads and their files.
  `
    CREATE TABLE downloads (
      -- Where the model will be, or is.
      path TEXT PRIMARY KEY,
      endpoint TEXT NOT NULL,
      name TEXT NOT NULL,
      revision TEXT NOT NULL,
      -- The GGUF file's path in the repository; empty for a folder.
      file TEXT NOT NULL,
      commit_hash TEXT NOT NULL,
      license TEXT,
      state TEXT NOT NULL CHECK (state IN ('unfinished', 'complete')),
      created_at TEXT NOT NULL,
      updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX downloads_by_request ON downloads (endpoint, name, revision, file);
    CREATE TABLE download_files (
      path TEXT NOT NULL REFERENCES downloads (path) ON DELETE CASCADE,
      position INTEGER NOT NULL,
      repository_path TEXT NOT NULL,
      bytes INTEGER NOT NULL,
      hash_kind TEXT NOT NULL CHECK (hash_kind IN ('sha256', 'git-blob-sha1')),
      hash TEXT NOT NULL,
      -- Strong validator under which the bytes so far were sent; null where there is none.
      etag TEXT,
      -- Whole, checked and under its own name.
      is_done INTEGER NOT NULL DEFAULT 0,
      PRIMARY KEY (path, position)
    ) STRICT, WITHOUT ROWID;
  `,
];

/** "DBLd": says that a SQLite file is this program's list of downloads. */
export const applicationId = 0x44424c64;
