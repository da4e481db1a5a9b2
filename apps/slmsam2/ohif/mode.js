// The OHIF mode: the stock segmentation mode (brush, eraser, threshold, its panel) with our panel in front.
import { enter, exit } from './running.js';

const STOCK = '@ohif/mode-segmentation';
const PANEL = 'slmsam2.panelModule.slmsam2';

/** @param {{modeConfiguration: object, loadModules: (names: string[]) => Promise<any[]>}} tools */
async function modeFactory({ modeConfiguration, loadModules }) {
  const [stock] = await loadModules([STOCK]);
  const mode = await stock.modeFactory({ modeConfiguration, loadModules });
  return {
    ...mode,
    id: 'slmsam2',
    routeName: 'slmsam2',
    displayName: 'SLM-SAM 2',
    hangingProtocol: 'default',
    routes: mode.routes.map(withPanel),
    onModeEnter: managers => {
      mode.onModeEnter(managers);
      enter(managers);
    },
    onModeExit: managers => {
      try {
        exit();
      } finally {
        mode.onModeExit(managers);
      }
    },
  };
}

/** The route with our panel first on the right. */
function withPanel(route) {
  return {
    ...route,
    layoutTemplate: (...args) => {
      const layout = route.layoutTemplate(...args);
      const rightPanels = [PANEL, ...(layout.props.rightPanels ?? [])];
      return { ...layout, props: { ...layout.props, rightPanels, rightPanelClosed: false } };
    },
  };
}

export default { id: 'slmsam2', modeFactory };
