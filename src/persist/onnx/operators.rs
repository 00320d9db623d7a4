//! From layers to operators.

use serde_json::Value;

use super::graph::Attribute::{Float, Int, Ints, Text};
use super::{Export, Numbers};
use crate::persist::Record;
use crate::{Scalar, Shape};

/// A layer's settings.
#[derive(Clone, Copy)]
struct Settings<'r>(&'r Value);

type Done<T = String> = Result<T, String>;

impl<'r> Settings<'r> {
    fn get<T>(self, key: &str, read: impl Fn(&'r Value) -> Option<T>) -> Done<T> {
        self.0.get(key).and_then(read).ok_or_else(|| format!("has no setting {key}"))
    }

    fn float(self, key: &str) -> Done<f64> {
        self.get(key, Value::as_f64)
    }

    fn int(self, key: &str) -> Done<i64> {
        self.get(key, Value::as_i64)
    }

    fn flag(self, key: &str) -> Done<bool> {
        self.get(key, Value::as_bool)
    }

    /// One number, or two of height and width.
    fn ints(self, key: &str) -> Done<Vec<i64>> {
        self.get(key, |value| match value {
            Value::Array(values) => values.iter().map(Value::as_i64).collect(),
            value => Some(vec![value.as_i64()?]),
        })
    }

    /// The same number before and after each axis.
    fn pads(self) -> Done<Vec<i64>> {
        let padding = self.ints("padding")?;
        Ok([&padding[..], &padding[..]].concat())
    }
}

impl<F: Scalar> Export<F> {
    /// Adds the operators of one layer; returns the name of its output.
    pub(super) fn operator(
        &mut self,
        path: &str,
        record: &Record,
        x: &str,
        shape: &Shape,
        after: &Shape,
    ) -> Done {
        let s = Settings(&record.settings);
        match &*record.kind {
            // In its first form, dropout shrinks what it passes when it predicts.
            "Dropout" if s.flag("vanilla")? => {
                let keep = self.graph.scalar(1.0 - s.float("p")?);
                Ok(self.graph.op("Mul", &[x, &keep], &[]))
            }
            "Dropout" | "AlphaDropout" | "GaussianNoise" | "GaussianDropout" => Ok(x.into()),
            "Linear" => self.linear(path, x),
            "Conv2d" | "Conv1d" | "ConvTranspose2d" => self.conv(path, &record.kind, s, x),
            "MaxPool2d" => self.pool("MaxPool", s, None, x),
            "AvgPool2d" => {
                let settings = Settings(s.0.get("settings").ok_or("has no setting settings")?);
                self.pool("AveragePool", settings, Some(s.flag("count_include_pad")?), x)
            }
            "GlobalAvgPool" => Ok(self.global("GlobalAveragePool", x)),
            "GlobalMaxPool" => Ok(self.global("GlobalMaxPool", x)),
            "BatchNorm" => self.batch_norm(path, s, x),
            "LayerNorm" => self.layer_norm(path, s, x, shape),
            "GroupNorm" => self.group_norm(path, s.int("groups")?, s, x, shape),
            "InstanceNorm" => self.instance_norm(path, s, x, shape),
            "LocalResponseNorm" if s.int("size")? % 2 == 0 => {
                Err("ONNX's window of an even size lies one channel further".into())
            }
            "LocalResponseNorm" => {
                let [alpha, beta, k] = ["alpha", "beta", "k"].map(|key| s.float(key));
                let settings = [
                    ("size", Int(s.int("size")?)),
                    ("alpha", Float(alpha? as f32)),
                    ("beta", Float(beta? as f32)),
                    ("bias", Float(k? as f32)),
                ];
                Ok(self.graph.op("LRN", &[x], &settings))
            }
            "Residual" | "StochasticDepth" => self.residual(path, record, x, shape),
            "Parallel" => self.parallel(path, record, x, shape),
            "ZeroPad" => {
                let sides = s.ints("sides")?;
                let [top, bottom, left, right] = sides[..] else {
                    return Err("has no four sides".into());
                };
                let pads = self.graph.integers(&[0, 0, top, left, 0, 0, bottom, right]);
                Ok(self.graph.op("Pad", &[x, &pads], &[]))
            }
            "Upsample" => self.resize(s, x, after),
            "AdaptiveAvgPool2d" => self.adaptive("AveragePool", x, shape, after),
            "AdaptiveMaxPool2d" => self.adaptive("MaxPool", x, shape, after),
            "Flatten" => Ok(self.graph.op("Flatten", &[x], &[("axis", Int(1))])),
            "Reshape" => Ok(self.reshape(x, after)),
            "Permute" => {
                let order = s.ints("order")?.into_iter().map(|axis| axis + 1);
                let order = std::iter::once(0).chain(order).collect();
                Ok(self.graph.op("Transpose", &[x], &[("perm", Ints(order))]))
            }
            "Maxout" => {
                let all = self.linear(path, x)?;
                Ok(self.largest(&all, s.int("pieces")?, after))
            }
            "MaxoutConv2d" => {
                let conv = Settings(s.0.get("conv").ok_or("has no setting conv")?);
                let all = self.conv(path, "Conv2d", conv, x)?;
                Ok(self.largest(&all, s.int("pieces")?, after))
            }
            "MaxoutChannels" => Ok(self.largest(x, s.int("pieces")?, after)),
            "PRelu" => self.prelu(path, x, shape),
            "Softmax" | "LogSoftmax" => {
                let axis = s.int("axis").map_or(-1, |axis| axis + 1);
                Ok(self.graph.op(&record.kind, &[x], &[("axis", Int(axis))]))
            }
            other => self.activation(other, s, x),
        }
    }

    fn activation(&mut self, kind: &str, s: Settings<'_>, x: &str) -> Done {
        let alpha = |value: f64| [("alpha", Float(value as f32))];
        let graph = &mut self.graph;
        Ok(match kind {
            "Relu" | "Sigmoid" | "Tanh" | "Softsign" | "Selu" | "Mish" | "HardSwish" => {
                graph.op(kind, &[x], &[])
            }
            "Relu6" => {
                let (low, high) = (graph.scalar(0.0), graph.scalar(6.0));
                graph.op("Clip", &[x, &low, &high], &[])
            }
            "LeakyRelu" => graph.op("LeakyRelu", &[x], &alpha(s.float("slope")?)),
            "Elu" => graph.op("Elu", &[x], &alpha(s.float("alpha")?)),
            "Gelu" => graph.op("Gelu", &[x], &[("approximate", Text("none"))]),
            "GeluTanh" => graph.op("Gelu", &[x], &[("approximate", Text("tanh"))]),
            "HardSigmoid" => {
                graph.op(kind, &[x], &[("alpha", Float(1.0 / 6.0)), ("beta", Float(0.5))])
            }
            "Silu" => {
                let gate = graph.op("Sigmoid", &[x], &[]);
                graph.op("Mul", &[x, &gate], &[])
            }
            "Softplus" => {
                let beta = graph.scalar(s.float("beta")?);
                let scaled = graph.op("Mul", &[x, &beta], &[]);
                let soft = graph.op("Softplus", &[&scaled], &[]);
                graph.op("Div", &[&soft, &beta], &[])
            }
            _ => return Err(format!("{kind} has no operator in ONNX")),
        })
    }

    /// A parameter or buffer as a constant, if the layer has it.
    fn parameter(&mut self, path: &str, name: &str) -> Option<String> {
        let full = format!("{path}.{name}");
        let Numbers { shape, values } = self.numbers.get(&full)?;
        Some(self.graph.constant(&full, shape, values))
    }

    fn need(&mut self, path: &str, name: &str) -> Done {
        self.parameter(path, name).ok_or_else(|| format!("has no {name}"))
    }

    /// A parameter for each channel, or this number where there is none.
    fn or_all(&mut self, path: &str, name: &str, channels: usize, value: f32) -> String {
        match self.parameter(path, name) {
            Some(name) => name,
            None => {
                self.graph.constant(&format!("{path}.{name}"), &[channels], &vec![value; channels])
            }
        }
    }

    /// The output of a block inside a layer.
    fn inner(&mut self, path: &str, name: &str, block: &Record, x: &str, shape: &Shape) -> String {
        let layers = block.layers().unwrap_or_default();
        let init = path.split('.').fold(self.init.clone(), |init, segment| init.child(segment));
        self.layers(&format!("{path}.{name}."), &layers, &init.child(name), x, shape).0
    }

    fn residual(&mut self, path: &str, record: &Record, x: &str, shape: &Shape) -> Done {
        let body = record.inner("body").ok_or("has no body")?;
        let mut body = self.inner(path, "body", &body, x, shape);
        if record.kind == "StochasticDepth" {
            let of = &record.settings["of"];
            // In eval mode the body counts as often as it was there, unless that was divided by in training.
            match (of[0].as_f64(), of[3].as_bool()) {
                (_, Some(true)) => {}
                (Some(survival), _) => {
                    let survival = self.graph.scalar(survival);
                    body = self.graph.op("Mul", &[&body, &survival], &[]);
                }
                _ => {
                    return Err(
                        "a survival that the model's builder sets is not written; set it".into()
                    );
                }
            }
        }
        let shortcut = match record.inner("projection") {
            Some(block) => self.inner(path, "projection", &block, x, shape),
            None => x.into(),
        };
        Ok(self.graph.op("Add", &[&body, &shortcut], &[]))
    }

    fn parallel(&mut self, path: &str, record: &Record, x: &str, shape: &Shape) -> Done {
        let mut outputs = Vec::new();
        while let Some(branch) = record.inner(&outputs.len().to_string()) {
            outputs.push(self.inner(path, &outputs.len().to_string(), &branch, x, shape));
        }
        let outputs: Vec<&str> = outputs.iter().map(|output| &**output).collect();
        Ok(match record.settings["of"].as_bool() {
            Some(true) => self.graph.op("Sum", &outputs, &[]),
            _ => self.graph.op("Concat", &outputs, &[("axis", Int(1))]),
        })
    }

    fn resize(&mut self, s: Settings<'_>, x: &str, after: &Shape) -> Done {
        let size: Vec<i64> = after.dims().iter().skip(1).map(|&len| len as i64).collect();
        let size = self.graph.integers(&size);
        let (mode, places) = match (s.flag("bilinear")?, s.flag("align_corners")?) {
            (false, _) => ("nearest", "asymmetric"),
            (true, false) => ("linear", "half_pixel"),
            (true, true) => ("linear", "align_corners"),
        };
        let settings = [
            ("axes", Ints(vec![2, 3])),
            ("mode", Text(mode)),
            ("coordinate_transformation_mode", Text(places)),
            ("nearest_mode", Text("floor")),
        ];
        Ok(self.graph.op("Resize", &[x, "", "", &size], &settings))
    }

    /// Windows of one size, where they are.
    fn adaptive(&mut self, kind: &str, x: &str, shape: &Shape, after: &Shape) -> Done {
        let mut kernel = Vec::new();
        for (&from, &to) in shape.dims().iter().zip(after.dims()).skip(1) {
            if from % to != 0 {
                return Err(format!(
                    "windows of several sizes, {shape} to {after}, have no operator in ONNX"
                ));
            }
            kernel.push((from / to) as i64);
        }
        let settings = [("kernel_shape", Ints(kernel.clone())), ("strides", Ints(kernel))];
        Ok(self.graph.op(kind, &[x], &settings))
    }

    fn linear(&mut self, path: &str, x: &str) -> Done {
        let weight = self.need(path, "weight")?;
        let bias = self.parameter(path, "bias");
        let inputs: Vec<&str> = [x, &weight].into_iter().chain(bias.as_deref()).collect();
        Ok(self.graph.op("Gemm", &inputs, &[("transB", Int(1))]))
    }

    fn conv(&mut self, path: &str, kind: &str, s: Settings<'_>, x: &str) -> Done {
        let weight = self.need(path, "weight")?;
        let bias = self.parameter(path, "bias");
        let inputs: Vec<&str> = [x, &weight].into_iter().chain(bias.as_deref()).collect();
        let mut settings = vec![
            ("kernel_shape", Ints(s.ints("kernel")?)),
            ("strides", Ints(s.ints("stride")?)),
            ("pads", Ints(s.pads()?)),
            ("dilations", Ints(s.ints("dilation")?)),
            ("group", Int(s.int("groups")?)),
        ];
        let operator = if kind == "ConvTranspose2d" {
            settings.push(("output_padding", Ints(s.ints("output_padding")?)));
            "ConvTranspose"
        } else {
            "Conv"
        };
        Ok(self.graph.op(operator, &inputs, &settings))
    }

    fn pool(&mut self, kind: &str, s: Settings<'_>, include_pad: Option<bool>, x: &str) -> Done {
        let kernel = s.ints("kernel")?;
        let stride = s.ints("stride").unwrap_or_else(|_| kernel.clone());
        let mut settings = vec![
            ("kernel_shape", Ints(kernel)),
            ("strides", Ints(stride)),
            ("pads", Ints(s.pads()?)),
            ("dilations", Ints(s.ints("dilation")?)),
            ("ceil_mode", Int(s.flag("ceil_mode")?.into())),
        ];
        if let Some(include_pad) = include_pad {
            settings.push(("count_include_pad", Int(include_pad.into())));
        }
        Ok(self.graph.op(kind, &[x], &settings))
    }

    fn global(&mut self, kind: &str, x: &str) -> String {
        let pooled = self.graph.op(kind, &[x], &[]);
        self.graph.op("Flatten", &[&pooled], &[("axis", Int(1))])
    }

    fn batch_norm(&mut self, path: &str, s: Settings<'_>, x: &str) -> Done {
        let channels =
            self.numbers.get(&format!("{path}.running_mean")).map_or(0, |n| n.values.len());
        let scale = self.or_all(path, "weight", channels, 1.0);
        let shift = self.or_all(path, "bias", channels, 0.0);
        let [mean, var] = [self.need(path, "running_mean")?, self.need(path, "running_var")?];
        let settings = [("epsilon", Float(s.float("eps")? as f32))];
        Ok(self.graph.op("BatchNormalization", &[x, &scale, &shift, &mean, &var], &settings))
    }

    fn layer_norm(&mut self, path: &str, s: Settings<'_>, x: &str, shape: &Shape) -> Done {
        let axes = s.int("last_axes").ok().and_then(|axes| usize::try_from(axes).ok());
        let axes = axes.unwrap_or(shape.rank()).min(shape.rank());
        let normalized = &shape.dims()[shape.rank() - axes..];
        let scale = match self.parameter(path, "weight") {
            Some(name) => name,
            None => {
                let ones = vec![1.0; normalized.iter().product()];
                self.graph.constant(&format!("{path}.weight"), normalized, &ones)
            }
        };
        let shift = self.parameter(path, "bias");
        let inputs: Vec<&str> = [x, &scale].into_iter().chain(shift.as_deref()).collect();
        let settings = [("axis", Int(-(axes as i64))), ("epsilon", Float(s.float("eps")? as f32))];
        Ok(self.graph.op("LayerNormalization", &inputs, &settings))
    }

    fn group_norm(
        &mut self,
        path: &str,
        groups: i64,
        s: Settings<'_>,
        x: &str,
        shape: &Shape,
    ) -> Done {
        let channels = shape.dims().first().copied().unwrap_or(0);
        let scale = self.or_all(path, "weight", channels, 1.0);
        let shift = self.or_all(path, "bias", channels, 0.0);
        let settings = [("num_groups", Int(groups)), ("epsilon", Float(s.float("eps")? as f32))];
        Ok(self.graph.op("GroupNormalization", &[x, &scale, &shift], &settings))
    }

    fn instance_norm(&mut self, path: &str, s: Settings<'_>, x: &str, shape: &Shape) -> Done {
        let channels = shape.dims().first().copied().unwrap_or(0);
        let scale = self.or_all(path, "weight", channels, 1.0);
        let shift = self.or_all(path, "bias", channels, 0.0);
        let settings = [("epsilon", Float(s.float("eps")? as f32))];
        Ok(self.graph.op("InstanceNormalization", &[x, &scale, &shift], &settings))
    }

    fn reshape(&mut self, x: &str, after: &Shape) -> String {
        let dims = after.dims().iter().map(|&len| len as i64);
        let shape: Vec<i64> = std::iter::once(-1).chain(dims).collect();
        let shape = self.graph.integers(&shape);
        self.graph.op("Reshape", &[x, &shape], &[])
    }

    /// The largest of each group of channels.
    fn largest(&mut self, x: &str, pieces: i64, after: &Shape) -> String {
        let mut dims = vec![-1];
        dims.extend(after.dims().iter().map(|&len| len as i64));
        dims.insert(2.min(dims.len()), pieces);
        let (shape, axis) = (self.graph.integers(&dims), self.graph.integers(&[2]));
        let groups = self.graph.op("Reshape", &[x, &shape], &[]);
        self.graph.op("ReduceMax", &[&groups, &axis], &[("keepdims", Int(0))])
    }

    /// One slope for each channel, which is the first axis of a sample, or one for all.
    fn prelu(&mut self, path: &str, x: &str, shape: &Shape) -> Done {
        let full = format!("{path}.weight");
        let Numbers { values, .. } = self.numbers.get(&full).ok_or("has no weight")?;
        let mut dims = vec![1; shape.rank()];
        if let Some(first) = dims.first_mut() {
            *first = values.len();
        }
        let slope = self.graph.constant(&full, &dims, values);
        Ok(self.graph.op("PRelu", &[x, &slope], &[]))
    }
}
