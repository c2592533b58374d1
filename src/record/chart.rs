//! What a figure shows, as plain numbers: everything is computed before it gets here.

/// Scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences, equal lengths.
    Linear,
    /// Equal ratios, equal lengths.
    Log,
}

/// How a series looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesStyle {
    /// A line with a band from the lower to the upper edge.
    Line,
    /// Markers that nothing joins, each with a bar from the lower to the upper edge: simulations against a
    /// swept parameter.
    Points,
    /// A thin dashed line with dark edges, without band or markers: a prediction for the series of the same
    /// shade.
    Theory,
}

/// One series over repeats. All vectors have one length; values that are not finite are gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Text of the legend; empty for a series that needs none.
    pub label: String,
    /// How it is drawn.
    pub style: SeriesStyle,
    /// Position of this series in the order that colours show, from 0 to 1.
    pub shade: f64,
    /// Abscissae.
    pub x: Vec<f64>,
    /// Median over repeats.
    pub median: Vec<f64>,
    /// Lower edge of the band or of the bars. A theory has none: this may be empty then.
    pub low: Vec<f64>,
    /// Upper edge of the band or of the bars. A theory has none: this may be empty then.
    pub high: Vec<f64>,
}

/// The axis that a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A value of the abscissa: its line is vertical.
    X,
    /// A value of the ordinate: its line is horizontal.
    Y,
}

/// A thin dashed line across the chart at one value. It is drawn only where the axes show the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The axis that the value belongs to.
    pub direction: Direction,
    /// The value.
    pub value: f64,
    /// A few words beside the line, such as "k = 2σ"; may be empty.
    pub label: String,
    /// Whether the axis is widened to show the value.
    pub widens_axis: bool,
}

/// Lines and points over a pair of axes.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// Title of the abscissa, with its unit where it has one.
    pub x_label: String,
    /// Title of the ordinate.
    pub y_label: String,
    /// Scale of the abscissa.
    pub x_scale: Scale,
    /// Scale of the ordinate.
    pub y_scale: Scale,
    /// Whether the abscissae are whole numbers (ranks) drawn with markers.
    pub ranks: bool,
    /// Title of the legend; what its labels are values of.
    pub legend_title: String,
    /// The lines and points.
    pub series: Vec<Series>,
    /// What the legend calls all dashed lines together. It is shown where there are theories and none of them
    /// has a label of its own.
    pub theory_label: Option<String>,
    /// Values marked across the chart.
    pub references: Vec<Reference>,
    /// Numerical floor of the ordinate: nothing below it is a value.
    pub floor: Option<f64>,
}

/// A matrix drawn as coloured cells. With labels at its columns or rows it is a map over parameters and takes
/// the whole width of the page; without, its cells are square.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// Title of the horizontal axis (columns).
    pub x_label: String,
    /// Title of the vertical axis (rows).
    pub y_label: String,
    /// Labels of the columns, as many of them shown as have room; where empty, the columns are numbered from
    /// 1.
    pub x_ticks: Vec<String>,
    /// Labels of the rows, the same.
    pub y_ticks: Vec<String>,
    /// Whether the first row is at the bottom, so that what the rows stand for grows upwards.
    pub first_row_at_bottom: bool,
    /// Title of the colour scale.
    pub value_label: String,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Row by row. What is not finite, and what is negative on a logarithmic scale, is a cell without a
    /// value.
    pub values: Vec<f64>,
    /// Scale of the colours.
    pub value_scale: Scale,
    /// Ends of the colour scale; they stand for all values beyond them.
    pub range: (f64, f64),
    /// Cells with a dot, row by row; may be empty or short: no dots.
    pub marks: Vec<bool>,
    /// What the dots mean, said under the map; also where no cell has one, for that may be the result.
    pub mark_label: Option<String>,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Chart {
    /// Lines over a pair of axes.
    Lines(LineChart),
    /// A matrix as coloured cells.
    HeatMap(HeatMap),
}

/// How much of a paper's page a figure takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageWidth {
    /// One column of two.
    #[default]
    SingleColumn,
    /// Both columns.
    DoubleColumn,
}

impl PageWidth {
    /// Width of the figure, in millimetres.
    pub fn millimetres(self) -> f64 {
        match self {
            PageWidth::SingleColumn => 85.0,
            PageWidth::DoubleColumn => 174.0,
        }
    }
}

/// A figure, complete with its words.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// How wide it is.
    pub width: PageWidth,
    /// Title over the chart.
    pub title: String,
    /// Caption line: loss, sides, dynamics, seeds and time.
    pub caption: String,
    /// Small print: plan hash and version.
    pub provenance: String,
    /// What is drawn.
    pub chart: Chart,
}
