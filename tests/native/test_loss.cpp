// Checks the lean loss's header on its own: random shapes, options and layouts against the plain
// computation in double, on all code paths and several numbers of threads. Prints what fails and
// exits with 1.
#include "topseg/loss.hpp"

#include <cstdio>
#include <random>
#include <string>

namespace {

using topseg::CrossEntropy;
using topseg::CrossEntropySum;
using topseg::Path;

int failures = 0;

void expect(bool good, const std::string& what) {
    if (good) return;
    std::printf("failed: %s\n", what.c_str());
    ++failures;
}

struct Result {
    double sum = 0, count = 0;
    std::vector<double> gradient, pixel_loss;
};

// Every pixel by itself, from the definition.
Result plain(const CrossEntropy& job) {
    Result result;
    result.gradient.assign(std::size_t(job.batch) * job.image_stride, 0.0);
    const double spread = job.label_smoothing / job.classes;
    const auto weight_of = [&](int k) { return job.class_weights ? job.class_weights[k] : 1.0f; };
    for (int image = 0; image < job.batch; ++image)
        for (int y = 0; y < job.target_height; ++y)
            for (int x = 0; x < job.target_width; ++x) {
                const int truth = job.target[result.pixel_loss.size()];
                result.pixel_loss.push_back(0);
                if (truth == job.ignore_index) continue;
                std::ptrdiff_t offset[4];
                double share[4];
                const auto place = [](int n, int N, int i, int low[2], double weight[2]) {
                    const double at = std::max(0.0, (i + 0.5) * n / N - 0.5);
                    low[0] = std::min(int(at), n - 1);
                    low[1] = std::min(low[0] + 1, n - 1);
                    weight[1] = at - low[0];
                    weight[0] = 1 - weight[1];
                };
                int rows[2], columns[2];
                double down[2], across[2];
                place(job.height, job.target_height, y, rows, down);
                place(job.width, job.target_width, x, columns, across);
                for (int corner = 0; corner < 4; ++corner) {
                    offset[corner] = image * job.image_stride + rows[corner / 2] * job.row_stride +
                                     columns[corner % 2] * job.column_stride;
                    share[corner] = down[corner / 2] * across[corner % 2];
                }
                std::vector<double> value(job.classes, 0.0);
                double largest = -1e300, sum = 0, weights = 0, weighted = 0;
                for (int k = 0; k < job.classes; ++k) {
                    for (int corner = 0; corner < 4; ++corner)
                        value[k] +=
                            share[corner] * job.logits[offset[corner] + k * job.class_stride];
                    largest = std::max(largest, value[k]);
                    weights += weight_of(k);
                    weighted += weight_of(k) * value[k];
                }
                for (double v : value) sum += std::exp(v - largest);
                const double log_sum = largest + std::log(sum);
                const double hard = (1 - job.label_smoothing) * weight_of(truth);
                result.pixel_loss.back() = log_sum - value[truth];
                result.sum +=
                    hard * result.pixel_loss.back() + spread * (weights * log_sum - weighted);
                result.count += weight_of(truth);
                for (int k = 0; k < job.classes; ++k) {
                    const double slope = (hard + spread * weights) * std::exp(value[k] - log_sum) -
                                         spread * weight_of(k) - (k == truth ? hard : 0);
                    for (int corner = 0; corner < 4; ++corner)
                        result.gradient[offset[corner] + k * job.class_stride] +=
                            share[corner] * slope;
                }
            }
    return result;
}

template <class A, class B>
bool near(const A& found, const B& expected) {
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        difference += std::pow(found[i] - expected[i], 2);
        size += std::pow(expected[i], 2);
    }
    return found.size() == expected.size() &&
           std::sqrt(difference) <= 1e-5 * std::sqrt(size) + 1e-5;
}

void check_random() {
    std::mt19937 random(0);
    std::normal_distribution<float> normal;
    const auto below = [&](int n) { return 1 + int(random() % unsigned(n)); };
    for (int round = 0; round < 24; ++round) {
        const std::string what = "random round " + std::to_string(round);
        const int batch = below(2), classes = below(round % 5 ? 20 : 200);
        const int height = below(6), width = below(7), rows = below(40), columns = below(50);
        const int plane = height * width;
        std::vector<float> logits(std::size_t(batch) * classes * plane), weights(classes);
        std::vector<std::int32_t> target(std::size_t(batch) * rows * columns);
        const float scale = round % 7 == 3 ? 300.0f : 3.0f;
        for (float& value : logits) value = scale * normal(random);
        for (float& value : weights) value = 0.5f + float(random() % 100) / 100;
        for (auto& value : target) value = random() % 5 ? int(random() % classes) : -7;
        const bool last = round % 2;
        CrossEntropy job{};
        job.logits = logits.data();
        job.batch = batch, job.classes = classes, job.height = height, job.width = width;
        job.image_stride = classes * plane;
        job.class_stride = last ? 1 : plane;
        job.row_stride = last ? width * classes : width;
        job.column_stride = last ? classes : 1;
        job.target = target.data();
        job.target_height = rows, job.target_width = columns;
        job.ignore_index = -7;
        job.class_weights = round % 3 ? weights.data() : nullptr;
        job.label_smoothing = round % 4 ? 0.0f : 0.1f;
        const Result expected = plain(job);

        for (Path path : {Path::portable, Path::avx2}) {
            if (!topseg::supported(path)) continue;
            std::vector<float> first;
            for (int threads : {1, 2, 5}) {
                std::vector<float> gradient(logits.size()), pixel_loss(target.size(), 9.0f);
                job.gradient = threads == 5 ? nullptr : gradient.data();
                job.pixel_loss = pixel_loss.data();
                const CrossEntropySum found = topseg::upsampled_cross_entropy(job, threads, path);
                expect(found.valid, what + ": valid");
                expect(std::abs(found.sum - expected.sum) <= 2e-6 * expected.sum + 1e-4,
                       what + ": sum");
                expect(std::abs(found.count - expected.count) <= 1e-6 * expected.count,
                       what + ": count");
                expect(near(pixel_loss, expected.pixel_loss), what + ": pixel loss");
                if (!job.gradient) continue;
                expect(near(gradient, expected.gradient), what + ": gradient");
                if (threads == 1) first = gradient;
                expect(gradient == first, what + ": threads");
            }
        }
        job.gradient = job.pixel_loss = nullptr;
        target.back() = classes;
        expect(!topseg::upsampled_cross_entropy(job, 2).valid, what + ": no class");
    }
}

}  // namespace

int main() {
    check_random();
    if (!failures) std::printf("ok\n");
    return failures != 0;
}
