/** A file of a repository, with what its content must hash to. */
export interface RepositoryFile {
  path: string;
  bytes: number;
  hash: { kind: 'sha256' | 'git-blob-sha1'; value: string };
}

/** Bytes of all of them. */
export function bytesOfFiles(files: readonly Pick<RepositoryFile, 'bytes'>[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
