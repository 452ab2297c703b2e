/**
 * Imports only go down. The way of the data is the order of the layers: a stage may import the stages left of it,
 * the contract, the file layer and the native addon; nothing in the engine imports service, cli, main, renderer or electron.
 */
const stages = [
  'model',
  'calibration',
  'float',
  'quantize',
  'package',
  'runtime',
  'measure',
  'history',
  'hub',
];

const stageRules = stages.map((stage, index) => ({
  name: `${stage}-imports-only-what-is-left-of-it`,
  severity: 'error',
  from: { path: `^engine/${stage}/` },
  to: { path: `^engine/(${[...stages.slice(index + 1), 'service', 'cli'].join('|')})/` },
}));

export default {
  forbidden: [
    ...stageRules,
    {
      name: 'contract-stands-alone',
      severity: 'error',
      from: { path: '^engine/contract/' },
      to: { path: '^engine/(?!contract/)' },
    },
    {
      name: 'files-stands-alone',
      severity: 'error',
      from: { path: '^engine/files/' },
      to: { path: '^engine/(?!files/|contract/)' },
    },
    {
      name: 'native-stands-alone',
      severity: 'error',
      from: { path: '^engine/native/' },
      to: { path: '^engine/(?!native/|contract/)' },
    },
    {
      name: 'service-never-imports-cli',
      severity: 'error',
      from: { path: '^engine/service/' },
      to: { path: '^engine/cli/' },
    },
    {
      name: 'cli-uses-contract-and-service-only',
      severity: 'error',
      from: { path: '^engine/cli/' },
      to: { path: '^engine/(?!cli/|contract/|files/|service/)' },
    },
    {
      name: 'engine-never-imports-faces',
      severity: 'error',
      from: { path: '^engine/' },
      to: { path: '^(main|renderer)/|node_modules/electron/' },
    },
    {
      name: 'product-never-imports-tests',
      severity: 'error',
      from: { path: '^engine/' },
      to: { path: '^(tests|scripts)/' },
    },
    {
      name: 'renderer-uses-the-contract-only',
      severity: 'error',
      from: { path: '^renderer/src/' },
      to: { path: '^(engine/(?!contract/)|main/|scripts/|tests/)|node_modules/(electron|ws)/' },
    },
    {
      name: 'renderer-never-imports-node',
      severity: 'error',
      from: { path: '^renderer/src/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'contract-never-imports-node',
      severity: 'error',
      from: { path: '^engine/contract/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'main-uses-contract-and-service-only',
      severity: 'error',
      from: { path: '^main/' },
      to: { path: '^(engine/(?!contract/|files/|service/)|renderer/|scripts/|tests/)' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolved-imports', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.mjs', '.js', '.json', '.node', '.svelte', '.css'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'svelte', 'node', 'default', 'types'],
    },
  },
};
