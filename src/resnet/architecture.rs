//! What a network consists of: its parameters by torchvision's names, and how they are connected. Plain data.

use crate::experiment::representation_dim;
use crate::settings::Settings;

/// What a parameter is for, which says how it starts, and whether it is trained, adapted and decayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weights of a convolution: He's normal initialisation over the outputs, as torchvision's.
    Convolution,
    /// Weights of a linear map: uniform with bound 1/√inputs, the framework's default.
    Linear,
    /// Scale of a BatchNorm, starting at 1.
    Scale,
    /// Scale of the last BatchNorm of a residual branch, starting at 0.
    LastScale,
    /// Shift of a BatchNorm, starting at 0.
    Shift,
    /// Running mean of a BatchNorm, starting at 0; not trained.
    Mean,
    /// Running variance of a BatchNorm, starting at 1; not trained.
    Variance,
    /// Diagonal of a projector, starting at 1.
    Diagonal,
    /// A fixed matrix of a projector: its singular values are 1, so many of them, and the rest 0.
    Fixed {
        /// How many are 1.
        rank: usize,
    },
}

impl Role {
    /// Whether the optimiser moves it.
    pub fn is_trained(self) -> bool {
        !matches!(self, Role::Mean | Role::Variance | Role::Fixed { .. })
    }

    /// Whether LARS adapts its rate and weight decay acts on it: weights, but no biases and no norms.
    pub fn is_weight(self) -> bool {
        matches!(self, Role::Convolution | Role::Linear | Role::Diagonal)
    }
}

/// A parameter of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, as in torchvision.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

/// A convolution without bias; its kernel is square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Index of its weights, outputs x inputs x k x k.
    pub weight: usize,
    /// Stride.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
}

/// Indices of the parameters of a BatchNorm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norm {
    /// Scale.
    pub scale: usize,
    /// Shift.
    pub shift: usize,
    /// Running mean.
    pub mean: usize,
    /// Running variance.
    pub variance: usize,
}

/// A convolution and the BatchNorm after it.
pub type Layer = (Convolution, Norm);

/// A residual block: its branch, with ReLU between layers, and what leads around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Layers of the branch.
    pub branch: Vec<Layer>,
    /// The layer around it; none for the identity.
    pub shortcut: Option<Layer>,
}

/// What stands between representation and loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projector {
    /// Nothing.
    None,
    /// Two linear maps, each with a BatchNorm; ReLU between them.
    Nonlinear([(usize, Norm); 2]),
    /// A linear map, trained or fixed: z = P r.
    Linear(usize),
    /// A diagonal map.
    Diagonal(usize),
    /// The first coordinates, so many.
    First(usize),
    /// Coordinates that are drawn anew in every step, so many.
    Random(usize),
    /// The first coordinates, so many, and zeros for the others.
    Masked(usize),
}

/// A network and what the loss sees of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// All parameters; layers name them by index.
    pub parameters: Vec<Parameter>,
    /// The first layer.
    pub stem: Layer,
    /// Whether a maximum over 3x3 with stride 2 follows it.
    pub pool: bool,
    /// Residual blocks.
    pub blocks: Vec<Block>,
    /// Coordinates of the representation.
    pub dim: usize,
    /// Projector.
    pub projector: Projector,
}

/// Collects parameters.
#[derive(Default)]
struct Builder {
    parameters: Vec<Parameter>,
}

impl Builder {
    fn add(&mut self, name: String, shape: Vec<usize>, role: Role) -> usize {
        self.parameters.push(Parameter { name, shape, role });
        self.parameters.len() - 1
    }

    fn norm(&mut self, name: &str, channels: usize, scale: Role) -> Norm {
        let mut add = |part: &str, role| self.add(format!("{name}.{part}"), vec![channels], role);
        Norm {
            scale: add("weight", scale),
            shift: add("bias", Role::Shift),
            mean: add("running_mean", Role::Mean),
            variance: add("running_var", Role::Variance),
        }
    }

    /// A convolution of `kernel`² and stride `stride` that keeps the size but for the stride, and the norm after it.
    fn layer(
        &mut self,
        (convolution, norm): (String, String),
        (inputs, outputs): (usize, usize),
        (kernel, stride): (usize, usize),
        scale: Role,
    ) -> Layer {
        let shape = vec![outputs, inputs, kernel, kernel];
        let weight = self.add(format!("{convolution}.weight"), shape, Role::Convolution);
        let norm = self.norm(&norm, outputs, scale);
        (Convolution { weight, stride, padding: kernel / 2 }, norm)
    }

    /// A residual block. A bottleneck's three convolutions are 1x1, 3x3 with the stride, and 1x1 with four times the channels.
    fn block(
        &mut self,
        name: &str,
        inputs: usize,
        channels: usize,
        stride: usize,
        bottleneck: bool,
    ) -> Block {
        let layers: &[(usize, usize, usize)] =
            if bottleneck { &[(1, 1, 1), (3, stride, 1), (1, 1, 4)] } else { &[(3, stride, 1), (3, 1, 1)] };
        let mut from = inputs;
        let mut branch = Vec::new();
        for (index, &(kernel, stride, factor)) in layers.iter().enumerate() {
            let names = (format!("{name}.conv{}", index + 1), format!("{name}.bn{}", index + 1));
            let scale = if index + 1 == layers.len() { Role::LastScale } else { Role::Scale };
            branch.push(self.layer(names, (from, factor * channels), (kernel, stride), scale));
            from = factor * channels;
        }
        let shortcut = (stride != 1 || inputs != from).then(|| {
            let names = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
            self.layer(names, (inputs, from), (1, stride), Role::Scale)
        });
        Block { branch, shortcut }
    }

    fn projector(&mut self, method: &Settings, dim: usize) -> Projector {
        match method.kind() {
            "directclr" => return Projector::First(method.integer("d0")),
            "random-features" => return Projector::Random(method.integer("d0")),
            _ => {}
        }
        let table = method.table("projector");
        let mut linear =
            |name: &str, shape: [usize; 2], role| self.add(name.to_string(), shape.to_vec(), role);
        match table.kind() {
            "nonlinear" => {
                let (hidden, out) = (table.optional_integer("hidden").unwrap_or(dim), table.integer("out"));
                let first = linear("projector.0.weight", [hidden, dim], Role::Linear);
                let norm = self.norm("projector.1", hidden, Role::Scale);
                let second = self.add("projector.3.weight".to_string(), vec![out, hidden], Role::Linear);
                let last = self.norm("projector.4", out, Role::Scale);
                Projector::Nonlinear([(first, norm), (second, last)])
            }
            "linear" => {
                Projector::Linear(linear("projector.weight", [table.integer("out"), dim], Role::Linear))
            }
            "orthogonal" => {
                Projector::Linear(linear("projector.weight", [dim, dim], Role::Fixed { rank: dim }))
            }
            "low-rank" => {
                let role = Role::Fixed { rank: table.integer("d0") };
                Projector::Linear(linear("projector.weight", [dim, dim], role))
            }
            "low-rank-diagonal" => Projector::Masked(table.integer("d0")),
            "diagonal" => {
                Projector::Diagonal(self.add("projector.diagonal".to_string(), vec![dim], Role::Diagonal))
            }
            _ => Projector::None,
        }
    }
}

impl Architecture {
    /// The network of the table `network` for pictures of so many `channels`, with what the table `method` says.
    pub fn from_settings(network: &Settings, method: &Settings, channels: usize) -> Architecture {
        let mut builder = Builder::default();
        let (blocks_of, width, bottleneck): (&[usize], usize, bool) = match network.kind() {
            "resnet-18" => (&[2, 2, 2, 2], 64, false),
            "resnet-50" => (&[3, 4, 6, 3], 64, true),
            "resnet-20" => (&[3, 3, 3], network.integer("width"), false),
            _ => (&[1, 1, 1], network.integer("width"), false),
        };
        let pool = matches!(network.kind(), "resnet-18" | "resnet-50") && network.text("stem") == "imagenet";
        let stem_kernel = if pool { (7, 2) } else { (3, 1) };
        let names = ("conv1".to_string(), "bn1".to_string());
        let stem = builder.layer(names, (channels, width), stem_kernel, Role::Scale);
        let mut from = width;
        let mut blocks = Vec::new();
        for (stage, &count) in blocks_of.iter().enumerate() {
            let channels = width << stage;
            for index in 0..count {
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                let name = format!("layer{}.{index}", stage + 1);
                blocks.push(builder.block(&name, from, channels, stride, bottleneck));
                from = if bottleneck { 4 * channels } else { channels };
            }
        }
        debug_assert_eq!(from, representation_dim(network));
        let projector = builder.projector(method, from);
        Architecture { parameters: builder.parameters, stem, pool, blocks, dim: from, projector }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resnet::example;

    fn of(network: &str) -> Architecture {
        let plan = example::plan(&[&format!("network={network}")]);
        Architecture::from_settings(plan.settings.table("network"), plan.settings.table("method"), 3)
    }

    fn trained(architecture: &Architecture) -> usize {
        let own =
            |parameter: &&Parameter| parameter.role.is_trained() && !parameter.name.starts_with("projector");
        architecture.parameters.iter().filter(own).map(|p| p.shape.iter().product::<usize>()).sum()
    }

    /// torchvision's counts (11,689,512 and 25,557,032) without the last layer of 1000 classes.
    #[test]
    fn the_networks_have_as_many_parameters_as_torchvision_s() {
        assert_eq!(trained(&of("{ kind = \"resnet-18\" }")), 11_689_512 - 512 * 1000 - 1000);
        assert_eq!(trained(&of("{ kind = \"resnet-50\" }")), 25_557_032 - 2048 * 1000 - 1000);
    }

    #[test]
    fn the_names_are_torchvision_s() {
        let names: Vec<String> =
            of("{ kind = \"resnet-50\" }").parameters.into_iter().map(|p| p.name).collect();
        for name in ["conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight", "layer4.2.bn3.bias"] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
        assert!(!names.iter().any(|name| name == "layer1.1.downsample.0.weight"));
    }
}
