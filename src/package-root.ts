/**
 * Where the package lies, whether this code runs from src/ or, compiled, from dist/src/: what is not
 * TypeScript (kernels.wasm, C sources, fixtures) has one place and is found from both.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** An absolute path: `parts` below the package's root. */
export function packagePath(...parts: readonly string[]): string {
  return join(packageRoot(), ...parts);
}

function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder)
      throw new Error('There is no package.json above the code: the installation is not whole.');
    folder = parent;
  }
  return folder;
}
