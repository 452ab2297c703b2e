import path from 'node:path';

/**
 * Where a file of the program really lies. In a packaged desktop the program is in one archive that only JavaScript can look into; what native code
 * opens or maps lies unpacked beside it.
 */
export function unpackedPath(file: string): string {
  return file.replace(/app\.asar(?=[\\/])/, 'app.asar.unpacked');
}

/** Folder of what comes with the product, seen from a module two levels below the root. */
export function resourcesFolder(moduleFolder: string): string {
  return unpackedPath(path.resolve(moduleFolder, '..', '..', 'resources'));
}
