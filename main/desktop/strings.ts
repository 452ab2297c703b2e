/** Everything that the desktop's own windows, menus and messages say. */
export const strings = {
  name: 'DBell Studio',
  menu: {
    file: 'File',
    newRun: 'New Run',
    settings: 'Settings …',
    view: 'View',
    runs: 'Runs',
    playground: 'Playground',
    benchmark: 'Benchmark',
    commandPalette: 'Command Palette …',
    run: 'Run',
    pause: 'Pause',
    continue: 'Continue',
    stop: 'Stop',
    undoDelete: 'Undo Deletion of Runs',
    help: 'Help',
    documentation: 'Documentation',
  },
  quit: {
    message: 'A run is going on.',
    detail:
      'It is stopped at the next safe point and can be resumed later; at most one block of work is lost. Jobs that wait are kept.',
    stop: 'Stop and Quit',
    stay: 'Go On',
  },
  engine: {
    givenUp: 'The engine keeps ending unexpectedly.',
    givenUpDetail:
      'Unfinished runs can be resumed after the next start, and jobs that wait are kept. What it said last:',
  },
  ended: {
    quantize: { finished: 'Quantization finished', failed: 'Quantization failed' },
    perplexity: { finished: 'Perplexity measured', failed: 'Measuring perplexity failed' },
    quality: { finished: 'Quality measured', failed: 'Measuring quality failed' },
    benchmark: { finished: 'Benchmark finished', failed: 'Benchmark failed' },
    verify: { finished: 'Package checked', failed: 'Checking the package failed' },
    export: { finished: 'Export finished', failed: 'Export failed' },
    download: { finished: 'Download finished', failed: 'Download failed' },
    generate: null,
  },
} as const;
