//! Axes: from values to places along a line, and which numbers to print beside it.

use super::scene::{Anchor, Colour, LINE_HEIGHT, Point, Scene, Type, millimetres, size};
use crate::record::Scale;

/// Powers of ten that a logarithmic axis without a floor shows below its largest value: about as many as separate 1
/// from the rounding of doubles.
pub(super) const DECADES: f64 = 16.0;
/// Values from here on are printed with a power of ten taken out.
const LARGE: i32 = 5;
/// Values below this power of ten are printed with a power of ten taken out.
const SMALL: i32 = -3;
/// Size of an exponent over that of its base.
const EXPONENT: f64 = 0.72;
/// How far an exponent stands above the base line, in sizes of letters of its base.
const RAISED: f64 = 0.38;

/// A number as printed: words, and an exponent that stands above them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Label {
    pub base: String,
    pub exponent: String,
}

impl Label {
    fn plain(base: String) -> Self {
        Label { base, exponent: String::new() }
    }

    fn power(factor: &str, exponent: i32) -> Self {
        let base = if factor.is_empty() { "10".to_owned() } else { format!("{factor}×10") };
        Label { base, exponent: minus(exponent.to_string()) }
    }

    /// Widths of base and exponent in millimetres.
    pub fn widths(&self, font: &Type, points: f64) -> (f64, f64) {
        (font.width(&self.base, points), font.width(&self.exponent, points * EXPONENT))
    }

    /// Draws with the border of base and exponent at `at`: whatever font a viewer has, they touch there.
    pub fn draw(&self, scene: &mut Scene, at: Point, points: f64, colour: Colour) {
        scene.text(&self.base, at, points, Anchor::End, colour);
        let raised = (at.0, at.1 - RAISED * millimetres(points));
        scene.text(&self.exponent, raised, points * EXPONENT, Anchor::Start, colour);
    }
}

/// A place along the axis, from 0 to 1, with its number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub place: f64,
    pub label: Label,
}

/// A range of values on a scale.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    /// Power of ten taken out of the values of a linear axis.
    pub power: i32,
    low: f64,
    high: f64,
}

impl Axis {
    /// An axis for values whose [`coordinate`](Axis::coordinate)s have still to be found: `largest` is the largest
    /// absolute value.
    pub fn new(scale: Scale, largest: f64) -> Self {
        let power = match scale {
            Scale::Log => 0,
            Scale::Linear if largest > 0.0 && largest.is_finite() => {
                let power = largest.log10().floor() as i32;
                if (SMALL..LARGE).contains(&power) { 0 } else { power }
            }
            Scale::Linear => 0,
        };
        Axis { scale, power, low: 0.0, high: 1.0 }
    }

    /// Sets the ends, as coordinates; a range without length is widened.
    pub fn span(mut self, low: f64, high: f64) -> Self {
        let (low, high) = if low <= high { (low, high) } else { (high, low) };
        let largest = low.abs().max(high.abs());
        // Below this, the numbers at the ticks would not differ.
        let least = match self.scale {
            Scale::Log => 1e-6,
            Scale::Linear => 1e-9 * largest,
        };
        if high - low > least {
            (self.low, self.high) = (low, high);
        } else {
            let half = match self.scale {
                Scale::Log => 0.5,
                Scale::Linear if largest > 0.0 => 0.1 * largest,
                Scale::Linear => 1.0,
            };
            let middle = low + (high - low) / 2.0;
            (self.low, self.high) = (middle - half, middle + half);
        }
        self
    }

    /// The coordinates at both ends.
    pub fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Where a value lies: its logarithm to base ten, or the value with the power of ten taken out. `None` for what the
    /// axis cannot show.
    pub fn coordinate(&self, value: f64) -> Option<f64> {
        let coordinate = match self.scale {
            Scale::Log if value > 0.0 => value.log10(),
            Scale::Log => return None,
            Scale::Linear if self.power == 0 => value,
            // In two steps, for ten to the whole power may be beyond the range of doubles.
            Scale::Linear => {
                let half = self.power / 2;
                value / 10f64.powi(half) / 10f64.powi(self.power - half)
            }
        };
        coordinate.is_finite().then_some(coordinate)
    }

    /// Place of a coordinate along the axis: 0 at the low end, 1 at the high end.
    pub fn place(&self, coordinate: f64) -> f64 {
        (coordinate - self.low) / (self.high - self.low)
    }

    /// Ticks with numbers, at most about `most`.
    pub fn ticks(&self, most: usize) -> Vec<Tick> {
        match self.scale {
            Scale::Linear => self.linear_ticks(most),
            Scale::Log => self.log_ticks(most),
        }
    }

    /// Places of ticks without numbers: 2 to 9 times the powers of ten, while they can be told apart, or the powers
    /// of ten themselves.
    pub fn minor(&self) -> Vec<f64> {
        const FINEST: f64 = 12.0;
        const FINE: f64 = 100.0;
        let mut places = Vec::new();
        let decades = self.high - self.low;
        if self.scale == Scale::Linear || decades > FINE {
            return places;
        }
        for exponent in self.low.floor() as i32..=self.high.ceil() as i32 {
            let factors = if decades > FINEST { 1..=1 } else { 1..=9 };
            for factor in factors {
                let coordinate = f64::from(exponent) + f64::from(factor).log10();
                if (self.low..=self.high).contains(&coordinate) {
                    places.push(self.place(coordinate));
                }
            }
        }
        places
    }

    fn linear_ticks(&self, most: usize) -> Vec<Tick> {
        let (step, decimals) = nice_step((self.high - self.low) / most.max(1) as f64);
        let first = (self.low / step - 1e-6).ceil();
        let last = (self.high / step + 1e-6).floor();
        let mut ticks = Vec::new();
        let mut k = first;
        // The count is checked too, for k may be too large to grow by one.
        while k <= last && ticks.len() <= 2 * most {
            let value = k * step;
            ticks.push(Tick { place: self.place(value), label: Label::plain(fixed(value, decimals)) });
            k += 1.0;
        }
        ticks
    }

    fn log_ticks(&self, most: usize) -> Vec<Tick> {
        const SLACK: f64 = 1e-9;
        let first = (self.low - SLACK).ceil() as i32;
        let last = (self.high + SLACK).floor() as i32;
        let count = last - first + 1;
        if count >= 2 {
            let mut steps = [1, 2, 3, 4, 5, 10, 20, 25, 50, 100, 200].into_iter();
            let step = steps.find(|step| (count - 1) / step < most.max(1) as i32).unwrap_or(300);
            let exponents = (first..=last).filter(|exponent| exponent % step == 0);
            let tick = |exponent: i32| Tick {
                place: self.place(f64::from(exponent)),
                label: Label::power("", exponent),
            };
            return exponents.map(tick).collect();
        }
        // Hardly a power of ten in the range: 1, 2 and 5 times one, or where that is too coarse every multiple.
        let mut candidates = Vec::new();
        for factors in [&[1, 2, 5][..], &[1, 2, 3, 4, 5, 6, 7, 8, 9][..]] {
            candidates.clear();
            for exponent in self.low.floor() as i32..=self.high.floor() as i32 {
                for &factor in factors {
                    let coordinate = f64::from(exponent) + f64::from(factor).log10();
                    if (self.low - SLACK..=self.high + SLACK).contains(&coordinate) {
                        candidates.push((factor, exponent, coordinate));
                    }
                }
            }
            if candidates.len() > 2 {
                break;
            }
        }
        if candidates.len() > 1 {
            let thin = candidates.len().div_ceil(most.max(1));
            let tick = |&(factor, exponent, coordinate): &(u32, i32, f64)| Tick {
                place: self.place(coordinate),
                label: significant(factor, exponent),
            };
            return candidates.iter().step_by(thin).map(tick).collect();
        }
        // A narrow range: steps of equal differences.
        let (low, high) = (10f64.powf(self.low), 10f64.powf(self.high));
        let linear = Axis::new(Scale::Linear, high);
        match (linear.coordinate(low), linear.coordinate(high)) {
            (Some(from), Some(to)) => {
                let power = linear.power;
                let linear = linear.span(from, to);
                let mut ticks = linear.linear_ticks(most.min(4));
                for tick in &mut ticks {
                    let value = linear.low + tick.place * (linear.high - linear.low);
                    tick.place = self.place(value.max(f64::MIN_POSITIVE).log10() + f64::from(power));
                    if power != 0 {
                        tick.label = Label::power(&tick.label.base, power);
                    }
                }
                ticks
            }
            _ => Vec::new(),
        }
    }

    /// The power of ten taken out, as it is printed at the axis.
    pub fn factor(&self) -> Option<Label> {
        (self.power != 0).then(|| {
            let label = Label::power("", self.power);
            Label { base: format!("×{}", label.base), ..label }
        })
    }
}

/// Ticks at whole numbers from `low` to `high` on a line that runs from `start` to `end`.
pub(super) fn whole_ticks(low: f64, high: f64, start: f64, end: f64) -> Vec<Tick> {
    const MOST: f64 = 8.0;
    const FEW: f64 = 6.0;
    let (low, high) = (low.ceil(), high.floor());
    if !(high - low).is_finite() || end <= start {
        return Vec::new();
    }
    let step = if high - low < MOST {
        1.0
    } else {
        // Widths of layers are often powers of two: their quarters and eighths, else round numbers.
        let halves = (1..=30).map(|k| 2f64.powi(k)).find(|step| (high / step) <= FEW && high % step == 0.0);
        halves.unwrap_or_else(|| nice_step((high - low) / FEW).0.max(1.0))
    };
    let mut numbers = Vec::new();
    let mut number = (low / step).ceil() * step;
    if step > 1.0 && number - low > 0.5 * step {
        numbers.push(low);
    }
    while number <= high && numbers.len() < 32 {
        numbers.push(number);
        number += step;
    }
    let tick = |number: f64| Tick {
        place: (number - start) / (end - start),
        label: Label::plain(minus(format!("{number:.0}"))),
    };
    numbers.into_iter().map(tick).collect()
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `step`, and the decimals it needs.
fn nice_step(step: f64) -> (f64, usize) {
    let step = if step > 0.0 && step.is_finite() { step } else { 1.0 };
    let exponent = step.log10().floor().clamp(-300.0, 300.0) as i32;
    let unit = 10f64.powi(exponent);
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * unit >= step * (1.0 - 1e-9));
    let (factor, exponent) = factor.map_or((1.0, exponent + 1), |factor| (factor, exponent));
    // A fraction is divided and not multiplied by its rounded unit, so that 3 steps of 0.1 are 0.3.
    let step = if exponent < 0 { factor / 10f64.powi(-exponent) } else { factor * 10f64.powi(exponent) };
    (step, (-exponent).max(0) as usize)
}

fn significant(factor: u32, exponent: i32) -> Label {
    if !(SMALL..LARGE).contains(&exponent) {
        return Label::power(&factor.to_string(), exponent);
    }
    let value = f64::from(factor) * 10f64.powi(exponent);
    Label::plain(fixed(value, (-exponent).max(0) as usize))
}

fn fixed(value: f64, decimals: usize) -> String {
    // More digits than a double has would be noise.
    let text = format!("{value:.*}", decimals.min(17));
    let zero = text.chars().all(|letter| matches!(letter, '-' | '0' | '.'));
    minus(if zero { text.trim_start_matches('-').to_owned() } else { text })
}

/// With a true minus sign.
fn minus(text: String) -> String {
    text.replace('-', "−")
}

/// Length of a tick in millimetres.
pub(super) const TICK: f64 = 0.9;
/// Length of a tick without number.
const MINOR_TICK: f64 = 0.5;
/// Space between a tick and its number.
const GAP: f64 = 0.5;
/// Width of lines that belong to the axes.
pub(super) const HAIRLINE: f64 = 0.15;

/// Draws ticks and numbers under the edge from `left` to `right` at height `y`.
pub(super) fn draw_below(
    scene: &mut Scene,
    ticks: &[Tick],
    minor: &[f64],
    (left, right): (f64, f64),
    y: f64,
) {
    let colour = super::palette::INK;
    let at = |place: f64| left + place * (right - left);
    for &place in minor {
        scene.line(vec![(at(place), y), (at(place), y + MINOR_TICK)], HAIRLINE, colour);
    }
    let em = millimetres(size::TICK);
    for tick in ticks {
        scene.line(vec![(at(tick.place), y), (at(tick.place), y + TICK)], HAIRLINE, colour);
        let (base, exponent) = tick.label.widths(&scene.font, size::TICK);
        let border = at(tick.place) + (base - exponent) / 2.0;
        let raised = if exponent > 0.0 { 0.12 * em } else { 0.0 };
        tick.label.draw(scene, (border, y + TICK + GAP + 0.76 * em + raised), size::TICK, colour);
    }
}

/// Height that [`draw_below`] takes.
pub(super) fn height_below() -> f64 {
    TICK + GAP + LINE_HEIGHT * millimetres(size::TICK)
}

/// Draws ticks and numbers on the left of the edge from `bottom` to `top` at `x`.
pub(super) fn draw_left(scene: &mut Scene, ticks: &[Tick], minor: &[f64], (bottom, top): (f64, f64), x: f64) {
    let colour = super::palette::INK;
    let at = |place: f64| bottom + place * (top - bottom);
    for &place in minor {
        scene.line(vec![(x - MINOR_TICK, at(place)), (x, at(place))], HAIRLINE, colour);
    }
    let exponents = widest(ticks, &scene.font).1;
    for tick in ticks {
        scene.line(vec![(x - TICK, at(tick.place)), (x, at(tick.place))], HAIRLINE, colour);
        let base_line = at(tick.place) + 0.36 * millimetres(size::TICK);
        tick.label.draw(scene, (x - TICK - GAP - exponents, base_line), size::TICK, colour);
    }
}

/// Width that [`draw_left`] takes.
pub(super) fn width_left(ticks: &[Tick], font: &Type) -> f64 {
    let (base, exponent) = widest(ticks, font);
    TICK + GAP + base + exponent
}

/// Draws ticks and numbers on the right of the edge from `bottom` to `top` at `x`.
pub(super) fn draw_right(
    scene: &mut Scene,
    ticks: &[Tick],
    minor: &[f64],
    (bottom, top): (f64, f64),
    x: f64,
) {
    let colour = super::palette::INK;
    for &place in minor {
        let y = bottom + place * (top - bottom);
        scene.line(vec![(x, y), (x + MINOR_TICK, y)], HAIRLINE, colour);
    }
    for tick in ticks {
        let y = bottom + tick.place * (top - bottom);
        scene.line(vec![(x, y), (x + TICK, y)], HAIRLINE, colour);
        let (base, _) = tick.label.widths(&scene.font, size::TICK);
        let at = (x + TICK + GAP + base, y + 0.36 * millimetres(size::TICK));
        tick.label.draw(scene, at, size::TICK, colour);
    }
}

/// Largest widths of bases and of exponents.
fn widest(ticks: &[Tick], font: &Type) -> (f64, f64) {
    ticks.iter().fold((0.0, 0.0), |(base, exponent): (f64, f64), tick| {
        let widths = tick.label.widths(font, size::TICK);
        (base.max(widths.0), exponent.max(widths.1))
    })
}

/// The most ticks below `width` millimetres whose numbers do not touch.
pub(super) fn ticks_for_width(axis: &Axis, font: &Type, width: f64) -> Vec<Tick> {
    const APART: f64 = 1.6;
    let mut ticks = Vec::new();
    for most in (1..=7).rev() {
        ticks = axis.ticks(most);
        if fit(&ticks, font, width, APART) {
            break;
        }
    }
    ticks
}

/// Ticks in the middles of cells that `labels` name in turn, at equal steps so wide that labels do not touch:
/// below an axis of `length` millimetres, or beside it (`upright`). Labels wider than `widest` millimetres
/// are shortened.
pub(super) fn cell_ticks(
    labels: &[String],
    cells: usize,
    font: &Type,
    length: f64,
    widest: f64,
    upright: bool,
) -> Vec<Tick> {
    const APART: f64 = 1.0;
    let tick = |(k, label): (usize, &String)| Tick {
        place: (k as f64 + 0.5) / cells as f64,
        label: Label::plain(font.shorten(label, size::TICK, widest)),
    };
    let ticks: Vec<Tick> = labels.iter().take(cells).enumerate().map(tick).collect();
    let clear = |step: &usize| {
        let ticks: Vec<Tick> = ticks.iter().step_by(*step).cloned().collect();
        if upright {
            let height = LINE_HEIGHT * millimetres(size::TICK);
            ticks.len() < 2 || *step as f64 * length / cells as f64 >= height
        } else {
            fit(&ticks, font, length, APART)
        }
    };
    let step = (1..ticks.len()).find(clear).unwrap_or(ticks.len().max(1));
    ticks.into_iter().step_by(step).filter(|tick| !tick.label.base.is_empty()).collect()
}

/// The ticks whose numbers do not touch the one before, under an axis of `width` millimetres.
pub(super) fn apart(ticks: Vec<Tick>, font: &Type, width: f64) -> Vec<Tick> {
    const APART: f64 = 0.6;
    let mut kept: Vec<Tick> = Vec::with_capacity(ticks.len());
    for tick in ticks {
        let fits = match kept.last() {
            Some(last) => fit(&[last.clone(), tick.clone()], font, width, APART),
            None => true,
        };
        if fits {
            kept.push(tick);
        }
    }
    kept
}

/// Whether numbers under an axis of `width` millimetres stay `apart` millimetres from each other.
fn fit(ticks: &[Tick], font: &Type, width: f64, apart: f64) -> bool {
    ticks.windows(2).all(|pair| {
        let half = |tick: &Tick| {
            let (base, exponent) = tick.label.widths(font, size::TICK);
            (base + exponent) / 2.0
        };
        (pair[1].place - pair[0].place) * width >= half(&pair[0]) + half(&pair[1]) + apart
    })
}
