// Runs the shell's words in SHELL_LINE with the arguments as $0, $1 and so on.
import { spawnSync } from 'node:child_process';

const { status } = spawnSync('bash', ['-c', process.env.SHELL_LINE, ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
