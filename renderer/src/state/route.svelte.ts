/** Where in the studio this window is: the address' fragment, so that a reload and the back button do what they should. */

export type Place = 'new' | 'runs' | 'playground' | 'benchmark' | 'settings';
export const wizardSteps = ['model', 'goal', 'calibration', 'run', 'result'] as const;
export type WizardStep = (typeof wizardSteps)[number];

export type Route =
  /** `id` is the job's for `run` and the run's for `result`. */
  | { place: 'new'; step: WizardStep; id: string | null }
  | { place: 'runs'; view: 'list' }
  | { place: 'runs'; view: 'detail'; runId: string }
  | { place: 'runs'; view: 'compare'; runIds: string[] }
  | { place: 'playground'; models: string[] }
  /** Without a job: what is to be measured, and beside what. */
  | { place: 'benchmark'; jobId: string | null; model?: string; baseline?: string }
  | { place: 'settings' };

function isStep(text: string | undefined): text is WizardStep {
  return wizardSteps.some((step) => step === text);
}

export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').filter(Boolean).map(decode);
  const parameters = new URLSearchParams(query);
  switch (parts[0]) {
    case 'runs': {
      if (parts[1] === 'compare' && parts[2]) {
        return { place: 'runs', view: 'compare', runIds: parts[2].split(',').filter(Boolean) };
      }
      return parts[1] ? { place: 'runs', view: 'detail', runId: parts[1] } : { place: 'runs', view: 'list' };
    }
    case 'playground':
      return { place: 'playground', models: parameters.getAll('model') };
    case 'benchmark':
      return {
        place: 'benchmark',
        jobId: parts[1] ?? null,
        model: parameters.get('model') ?? undefined,
        baseline: parameters.get('baseline') ?? undefined,
      };
    case 'settings':
      return { place: 'settings' };
    default:
      return { place: 'new', step: isStep(parts[1]) ? parts[1] : 'model', id: parts[2] ?? null };
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function addressOf(route: Route): string {
  switch (route.place) {
    case 'new':
      return route.id === null
        ? `#/new/${route.step}`
        : `#/new/${route.step}/${encodeURIComponent(route.id)}`;
    case 'runs':
      if (route.view === 'list') return '#/runs';
      return route.view === 'detail'
        ? `#/runs/${encodeURIComponent(route.runId)}`
        : `#/runs/compare/${route.runIds.map(encodeURIComponent).join(',')}`;
    case 'playground': {
      const query = new URLSearchParams(route.models.map((model) => ['model', model]));
      return route.models.length === 0 ? '#/playground' : `#/playground?${query}`;
    }
    case 'benchmark': {
      if (route.jobId !== null) return `#/benchmark/${encodeURIComponent(route.jobId)}`;
      const { model, baseline } = route;
      if (model === undefined) return '#/benchmark';
      return `#/benchmark?${new URLSearchParams({ model, ...(baseline === undefined ? {} : { baseline }) })}`;
    }
    case 'settings':
      return '#/settings';
  }
}

class Navigation {
  route: Route = $state.raw(parseRoute(globalThis.location?.hash ?? ''));

  constructor() {
    globalThis.addEventListener?.('hashchange', () => {
      this.route = parseRoute(location.hash);
    });
  }

  go(route: Route): void {
    location.hash = addressOf(route);
  }

  /** Without a step for the back button. */
  replace(route: Route): void {
    history.replaceState(null, '', addressOf(route));
    this.route = route;
  }
}

export const navigation = new Navigation();
